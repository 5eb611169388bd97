"""LeRF on a GPU as Triton kernels: a launch for each of its two LUT stages, and one that resamples at any positions."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from utils.geometry.neighbours import tap_epsilon

BLOCK, LARGEST_LUT = 128, 17**4 - 1  # positions of a program; the last entry of a LUT
SIZES = ["height", "width", "channels", "n_y", "n_x", "top", "left"]  # not worth a compilation each
ROUNDING = tl.constexpr(12582912.0)  # 1.5 * 2^23: added and subtracted, it rounds half to even as PyTorch does


@triton.jit
def _clamped(x, LOWEST: tl.constexpr, HIGHEST: tl.constexpr):
    """Clamping that passes NaN."""
    return tl.where(x < LOWEST, LOWEST, tl.where(x > HIGHEST, HIGHEST, x))


@triton.jit
def _levels(values, SCALE: tl.constexpr):
    return _clamped((values * SCALE + ROUNDING) - ROUNDING, 0.0, 255.0)


@triton.jit
def _ordered(f, s, g, t):
    """Two fractions with their steps, the larger first."""
    swap = g > f
    return tl.where(swap, g, f), tl.where(swap, t, s), tl.where(swap, f, g), tl.where(swap, s, t)


@triton.jit(do_not_specialize=SIZES[:3])
def lut_stage(
    source, luts, offsets, feature, output, output_b, height, width, channels, divisor,
    TERMS: tl.constexpr, VALUES: tl.constexpr, SCALE: tl.constexpr, LAST: tl.constexpr, FIRST: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """A stage of LUTs (units, 83521, VALUES) for a block of one plane's pixels, whose `source` * SCALE are grey levels.
    Of TERMS patterns `offsets` holds the LUT's number and four (dy, dx). The first stage also writes its levels to
    `feature`."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live, plane = pixel < height * width, tl.program_id(1).to(tl.int64)
    row, column = pixel // width, pixel % width
    source += plane * height * width
    value = tl.arange(0, 4)  # VALUES, padded
    total = tl.zeros([BLOCK, 4], tl.float32)
    for term in range(TERMS):
        about = offsets + term * 9
        start, zero = tl.zeros([BLOCK], tl.int32), tl.zeros([BLOCK], tl.float32)
        fractions = ()
        for axis in tl.static_range(4):
            y = tl.minimum(tl.maximum(row + tl.load(about + 1 + 2 * axis), 0), height - 1)
            x = tl.minimum(tl.maximum(column + tl.load(about + 2 + 2 * axis), 0), width - 1)
            level = _levels(tl.load(source + y * width + x, live, 0.0), SCALE)
            low = tl.floor(level * 0.0625)
            start = start * 17 + low.to(tl.int32)
            fractions = fractions + (level - 16.0 * low,)  # noqa: RUF005 - Triton has no unpacking
        f0, s0, f1, s1 = _ordered(fractions[0], start * 0 + 4913, fractions[1], start * 0 + 289)
        f2, s2, f3, s3 = _ordered(fractions[2], start * 0 + 17, fractions[3], start * 0 + 1)
        f0, s0, f2, s2 = _ordered(f0, s0, f2, s2)
        f1, s1, f3, s3 = _ordered(f1, s1, f3, s3)
        f1, s1, f2, s2 = _ordered(f1, s1, f2, s2)
        edges, steps = (zero + 16.0, f0, f1, f2, f3, zero), (s0, s1, s2, s3, s3)
        lut = luts + tl.load(about) * (LAST + 1) * VALUES
        for vertex in tl.static_range(5):
            at = tl.minimum(tl.maximum(start, 0), LAST)  # of NaN, too
            entry = tl.load(lut + at[:, None] * VALUES + value[None, :], live[:, None] & (value < VALUES)[None, :], 0.0)
            weight = (edges[vertex] - edges[vertex + 1])[:, None]
            total += weight * ((_clamped(entry, -127.0, 127.0) + ROUNDING) - ROUNDING)
            start += steps[vertex]
    levels = tl.div_rn(total * 0.0625, tl.zeros_like(total) + divisor) + (0.0 if FIRST else 127.0)
    levels = _levels(levels, 1.0)
    size = (height * width).to(tl.int64)
    picture, channel = plane // channels, plane % channels
    place = output + picture * output_b + (value[None, :] * channels + channel) * size + pixel[:, None]
    written = live[:, None] & (value < VALUES)[None, :]
    result = tl.div_rn(levels, tl.zeros_like(levels) + 255.0)
    if FIRST:
        tl.store(feature + plane * size + pixel[:, None] + value[None, :], levels, written)
        exact = _clamped(tl.load(source + pixel, live, 0.0), 0.0, 1.0) * 255.0
        rest = exact - ((exact + ROUNDING) - ROUNDING)
        rest = tl.where(tl.abs(rest) < 1e-3, 0.0, rest)
        result += tl.div_rn(rest, tl.zeros_like(rest) + 255.0)[:, None]
    tl.store(place, result, written)


@triton.jit
def _tap(position, stretch, n, step, radius, epsilon):
    """A tap of `geometry.neighbours.axis_taps`: its pixel, distance in stretched pixels, and whether it counts."""
    centre, reach = ((position + 1.0) * (n * 1.0) - 1.0) * 0.5, radius * stretch
    tap = tl.ceil(centre - reach - epsilon) + step
    distance = centre - tap
    inside = (distance > epsilon - reach) & (step * 1.0 < tl.ceil(2.0 * reach - epsilon))
    return tl.minimum(tl.maximum(tap.to(tl.int32), 0), n - 1), tl.div_rn(distance, stretch), inside


@triton.jit
def _held(position, n):
    """`geometry.grids.pixel_index`."""
    exact = ((position + 1.0) * (n * 1.0) - 1.0) * 0.5
    return tl.minimum(tl.maximum(((exact + ROUNDING) - ROUNDING).to(tl.int32), 0), n - 1)


@triton.jit(do_not_specialize=SIZES)
def resample(
    output, out_b, out_c, out_r, out_x, ys, xs, ys_b, ys_r, ys_c, xs_b, xs_r, xs_c, height, width,
    table, table_b, table_y, table_x, table_c, stretch, stretch_b, stretch_a, stretch_y, stretch_x,
    n_y, n_x, top, left, channels, radius, epsilon_y, epsilon_x, TAPS: tl.constexpr, GAUSS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Weighted means of the pixels around a block of positions, each with the kernel that its own values shape."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    row, column, live = place // width, place % width, place < height * width
    picture, channel = (tl.program_id(1) // channels).to(tl.int64), tl.program_id(1) % channels
    y = tl.load(ys + picture * ys_b + row * ys_r + column * ys_c, live, 0.0)
    x = tl.load(xs + picture * xs_b + row * xs_r + column * xs_c, live, 0.0)
    about = stretch + picture * stretch_b + _held(y, n_y) * stretch_y + _held(x, n_x) * stretch_x
    stretched_y, stretched_x = tl.load(about, live, 1.0), tl.load(about + stretch_a, live, 1.0)
    total, norm = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for step_y in range(TAPS):
        tap_y, dy, in_y = _tap(y, stretched_y, n_y, step_y, radius, epsilon_y)
        for step_x in range(TAPS):
            tap_x, dx, in_x = _tap(x, stretched_x, n_x, step_x, radius, epsilon_x)
            pixel = table + picture * table_b + (tap_y - top).to(tl.int64) * table_y + (tap_x - left) * table_x
            first = tl.load(pixel + (channels + channel) * table_c, live, 0.0)
            if GAUSS:
                second = tl.load(pixel + (2 * channels + channel) * table_c, live, 0.0)
                third = tl.load(pixel + (3 * channels + channel) * table_c, live, 0.0)
                along_y, along_x, r = 10.0 * second * dy, 10.0 * third * dx, 2.0 * first - 1.0
                across = along_y - r * along_x
                weight = tl.exp(-0.5 * (across * across + (1.0 - r * r) * along_x * along_x))
            else:
                slope = 2.0 * first - 1.0
                weight = _clamped(1.0 - slope * tl.abs(dy), 0.0, float("inf"))
                weight *= _clamped(1.0 - slope * tl.abs(dx), 0.0, float("inf"))
            weight = weight * (in_y & in_x).to(tl.float32)
            total += weight * tl.load(pixel + channel * table_c, live, 0.0)
            norm += weight
    tl.store(output + picture * out_b + channel * out_c + row * out_r + column * out_x, total / norm, live)


def look_up_stages(image: Tensor, stages: list[tuple[Tensor, list[list[int]], float]]) -> Tensor:
    """Both stages for (B, C, h, w) pictures in [0, 1]: pre-filtered pictures, hyper-parameters: (B, (1 + K) C, h, w).

    Of each stage its LUTs (units, 83521, K), for each term the LUT's number and the four (dy, dx) that it reads, and
    by what the sum is divided.
    """
    image = image.contiguous()
    batch, channels, height, width = image.shape
    features = image.new_empty(batch, (1 + stages[1][0].shape[2]) * channels, height, width)
    levels = torch.empty_like(image)
    for number, (luts, terms, divisor) in enumerate(stages):
        first = number == 0
        offsets = torch.tensor(terms, dtype=torch.int32).to(image.device)
        lut_stage[triton.cdiv(height * width, BLOCK), batch * channels](
            image if first else levels, luts, offsets, levels, features if first else features[:, channels:],
            features.stride(0), height, width, channels, float(divisor), TERMS=len(terms), VALUES=luts.shape[2],
            SCALE=255.0 if first else 1.0, LAST=LARGEST_LUT, FIRST=first, BLOCK=BLOCK, enable_fp_fusion=False,
        )  # fmt: skip
    return features


def resampled(
    table: Tensor, stretch: Tensor, taps: int, radius: float, gauss: bool, window, positions, output: Tensor, strides
) -> None:
    """Write pictures, `table` (B, h, w, (1 + K) C), of which the `window` is held, at `positions` as
    `native.fused` describes them into `output`, whose strides are those of (B, C, rows, columns)."""
    of_stretch = [step if n > 1 else 0 for step, n in zip(stretch.stride(), stretch.shape, strict=True)]
    channels = table.shape[3] // (4 if gauss else 2)
    if output.numel():
        resample[triton.cdiv(positions[-2] * positions[-1], BLOCK), len(table) * channels](
            output, *strides, *positions, table, *table.stride(), stretch, *of_stretch, *window.size, window.top,
            window.left, channels, float(radius), *map(tap_epsilon, window.size), TAPS=taps, GAUSS=gauss, BLOCK=BLOCK,
            enable_fp_fusion=False,
        )  # fmt: skip
