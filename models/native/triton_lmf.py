"""The render stage of LMF as Triton kernels: one launch paints a grid or positions, and one computes gradients.

A program holds a tile of positions. For each neighbour it reads the LR pixel's table row and modulations, and its
hidden units stay in registers; the last layer, which is linear, runs once on the blended units. Numbers are float32,
and matrix products are exact (`ieee`). Written for any GPU that Triton compiles for; checked by its interpreter.
"""

import triton
import triton.language as tl

ROUNDING = tl.constexpr(12582912.0)  # 1.5 * 2^23: added and subtracted, it rounds half to even as PyTorch does
INSIDE = tl.constexpr(1 - 1e-6)
LEAST_AREA = tl.constexpr(1e-9)
PI = tl.constexpr(3.141592653589793)


@triton.jit
def _pixel(position, shift, n):
    """`geometry.pixel_index` of shifted positions, as `look_up` clamps them."""
    shifted = tl.minimum(tl.maximum(position + shift, -INSIDE), INSIDE)
    exact = ((shifted + 1.0) * (n * 1.0) - 1.0) * 0.5
    rounded = ((exact + ROUNDING) - ROUNDING).to(tl.int32)
    return tl.minimum(tl.maximum(rounded, 0), n - 1)


@triton.jit
def _look_up(position, shift, n, first, step):
    """Pixel at a shifted position, and the offset of the position from its centre in LR pixels."""
    pixel = _pixel(position, shift, n)
    return pixel, (position - (pixel.to(tl.float32) * step + first)) * (n * 1.0)


@triton.jit
def _cosine_sine(turns):
    """cos and sin of pi * `turns` by their series on [-1/2, 1/2]; no angle needs a slow path."""
    whole = (turns + ROUNDING) - ROUNDING
    sign = 1.0 - 2.0 * (whole - 2.0 * tl.floor(whole * 0.5))
    x = (turns - whole) * PI
    s = x * x
    cosine = 1.0 - s * (0.5 - s * (1 / 24 - s * (1 / 720 - s * (1 / 40320 - s * (1 / 3628800 - s * (1 / 479001600))))))
    sine = 1.0 - s * (1 / 6 - s * (1 / 120 - s * (1 / 5040 - s * (1 / 362880 - s * (1 / 39916800 - s / 6227020800)))))
    return sign * cosine, sign * (x * sine)


@triton.jit
def _fourier(row, live, oy, ox, WAVES: tl.constexpr, PADDED: tl.constexpr):
    """Amplitudes, and cosines (first half) and sines of a table's rows at offsets, with their derivatives by the angle:
    (tile, PADDED) each; and the columns of these."""
    wave = tl.arange(0, PADDED)
    half: tl.constexpr = WAVES // 2
    mask = live[:, None] & (wave < WAVES)[None, :]
    of_pair = row[:, None] + (WAVES + wave % half)[None, :]
    along_y = tl.load(of_pair, mask, 0.0)
    along_x = tl.load(of_pair + half, mask, 0.0)
    phase = tl.load(of_pair + 2 * half, mask, 0.0)
    cosine, sine = _cosine_sine(along_y * oy[:, None] + along_x * ox[:, None] + phase)
    first = (wave < half)[None, :]
    coef = tl.load(row[:, None] + wave[None, :], mask, 0.0)
    return coef, tl.where(first, cosine, sine), tl.where(first, -sine, cosine) * PI


@triton.jit
def _linear(
    hidden, weights, FROM: tl.constexpr, PADDED_FROM: tl.constexpr, TO: tl.constexpr, PADDED_TO: tl.constexpr
):  # fmt: skip
    """A Linear layer, whose weights (TO, FROM) are followed by its biases: (tile, PADDED_FROM) -> (tile, PADDED_TO)."""
    column, unit = tl.arange(0, PADDED_FROM), tl.arange(0, PADDED_TO)
    mask = (column < FROM)[:, None] & (unit < TO)[None, :]
    weight = tl.load(weights + unit[None, :] * FROM + column[:, None], mask, 0.0)
    bias = tl.load(weights + FROM * TO + unit, unit < TO, 0.0)
    return tl.dot(hidden, weight, input_precision="ieee") + bias[None, :]


@triton.jit
def _linear_gradient(
    d_hidden, given, weights, part, FROM: tl.constexpr, PADDED_FROM: tl.constexpr, TO: tl.constexpr,
    PADDED_TO: tl.constexpr,
):  # fmt: skip
    """The gradient of a Linear layer's input; those of its weights and biases are added to `part`."""
    column, unit = tl.arange(0, PADDED_FROM), tl.arange(0, PADDED_TO)
    mask = (unit < TO)[:, None] & (column < FROM)[None, :]
    place = unit[:, None] * FROM + column[None, :]
    tl.atomic_add(part + place, tl.dot(tl.trans(d_hidden), given, input_precision="ieee"), mask)
    tl.atomic_add(part + FROM * TO + unit, tl.sum(d_hidden, 0), unit < TO)
    return tl.dot(d_hidden, tl.load(weights + place, mask, 0.0), input_precision="ieee")


@triton.jit
def _layers(
    row, mod, weights, live, oy, ox,
    HIDDEN: tl.constexpr, UNITS: tl.constexpr, DEPTH: tl.constexpr, WAVES: tl.constexpr, PADDED: tl.constexpr,
    HAS_SCALE: tl.constexpr, HAS_SHIFT: tl.constexpr,
):  # fmt: skip
    """Hidden units after the last modulated layer, (tile, UNITS); of each layer, its output before modulation and its
    input."""
    unit = tl.arange(0, UNITS)
    units = unit < HIDDEN
    mask = live[:, None] & units[None, :]
    before, inputs = (), ()
    hidden = tl.zeros([1, UNITS], tl.float32)
    at = 0
    for depth in tl.static_range(DEPTH):
        if depth == 0 and WAVES == 0:
            hidden = tl.load(row[:, None] + unit[None, :], mask, 0.0)
            of_y = tl.load(weights + 2 * unit, units, 0.0)
            of_x = tl.load(weights + 2 * unit + 1, units, 0.0)
            hidden += oy[:, None] * of_y[None, :] + ox[:, None] * of_x[None, :]
            at += 2 * HIDDEN
        else:
            if depth == 0:
                coef, trigonometric, _ = _fourier(row, live, oy, ox, WAVES, PADDED)
                hidden = coef * trigonometric
            inputs = inputs + (hidden,)  # noqa: RUF005 - Triton has no unpacking
            if depth == 0:
                hidden = _linear(hidden, weights + at, WAVES, PADDED, HIDDEN, UNITS)
                at += (WAVES + 1) * HIDDEN
            else:
                hidden = _linear(hidden, weights + at, HIDDEN, UNITS, HIDDEN, UNITS)
                at += (HIDDEN + 1) * HIDDEN
        before = before + (hidden,)  # noqa: RUF005
        at_unit = mod[:, None] + (depth * HIDDEN + unit)[None, :]
        if HAS_SCALE:
            hidden = hidden * (1.0 + tl.load(at_unit, mask, 0.0))
        if HAS_SHIFT:
            hidden = hidden + tl.load(at_unit + DEPTH * HIDDEN * HAS_SCALE, mask, 0.0)
        hidden = tl.where(hidden < 0.0, 0.0, hidden)  # NaN passes, as through PyTorch's ReLU
    return hidden, before, inputs


@triton.jit
def _tile(ys, xs, ys_b, ys_r, ys_c, xs_b, xs_r, xs_c, height, width, TILE_Y: tl.constexpr, TILE_X: tl.constexpr):
    """Row and column of a program's positions, which of them exist, and the positions."""
    across = tl.cdiv(width, TILE_X)
    place = tl.arange(0, TILE_Y * TILE_X)
    row = (tl.program_id(0) // across * TILE_Y + place // TILE_X).to(tl.int64)
    column = (tl.program_id(0) % across * TILE_X + place % TILE_X).to(tl.int64)
    live = (row < height) & (column < width)
    picture = tl.program_id(1).to(tl.int64)
    y = tl.load(ys + picture * ys_b + row * ys_r + column * ys_c, live, 0.0)
    x = tl.load(xs + picture * xs_b + row * xs_r + column * xs_c, live, 0.0)
    return row, column, live, picture, y, x


@triton.jit
def _around(y, x, n_y, n_x, low_y, high_y, first_y, step_y, low_x, high_x, first_x, step_x):
    """Pixels before and after positions and the offsets from them, along y and x, and the sum of all areas."""
    y0, oy0 = _look_up(y, low_y, n_y, first_y, step_y)
    x0, ox0 = _look_up(x, low_x, n_x, first_x, step_x)
    y1, oy1 = _look_up(y, high_y, n_y, first_y, step_y)
    x1, ox1 = _look_up(x, high_x, n_x, first_x, step_x)
    total = (tl.abs(oy0 * ox0) + LEAST_AREA) + (tl.abs(oy0 * ox1) + LEAST_AREA)
    total += (tl.abs(oy1 * ox0) + LEAST_AREA) + (tl.abs(oy1 * ox1) + LEAST_AREA)
    return y0, oy0, y1, oy1, x0, ox0, x1, ox1, total


@triton.jit
def _neighbour(around, number, top, left):
    """Pixel and offset of one of the LR pixels around positions."""
    y0, oy0, y1, oy1, x0, ox0, x1, ox1, _ = around
    below, right = number // 2 == 1, number % 2 == 1
    pixel_y = (tl.where(below, y1, y0) - top).to(tl.int64)
    pixel_x = (tl.where(right, x1, x0) - left).to(tl.int64)
    return pixel_y, pixel_x, tl.where(below, oy1, oy0), tl.where(right, ox1, ox0)


@triton.jit
def _share(around, number, NEIGHBOURS: tl.constexpr):
    """The share of a neighbour, the area opposite to it; asked for when its units are known, to hold no register."""
    _, oy0, _, oy1, _, ox0, _, ox1, total = around
    opposite = tl.abs(tl.where(number // 2 == 1, oy0, oy1) * tl.where(number % 2 == 1, ox0, ox1)) + LEAST_AREA
    return (opposite / (total if NEIGHBOURS > 1 else opposite))[:, None]


@triton.jit
def _bilinear(position, n, first):
    """The two pixels, counted from `first`, between which `geometry.sample_bilinear` reads, and the second's share."""
    centre = tl.minimum(tl.maximum((position + 1.0) * (n * 0.5) - 0.5, 0.0), n - 1.0)
    pixel = centre.to(tl.int32)
    pixel = tl.minimum(tl.maximum(pixel, 0), n - 1)
    return pixel - first, tl.minimum(pixel + 1, n - 1) - first, centre - pixel.to(tl.float32)


SIZES = ["height", "width", "n_y", "n_x", "top", "left", "skip_top", "skip_left"]  # not worth a compilation each


@triton.jit(do_not_specialize=SIZES)
def paint(
    output, out_b, out_c, out_r, out_x,
    ys, xs, ys_b, ys_r, ys_c, xs_b, xs_r, xs_c, height, width,
    table, table_b, table_y, table_x, modulation, mod_b, mod_y, mod_x, weights,
    n_y, n_x, top, left, low_y, high_y, first_y, step_y, low_x, high_x, first_x, step_x,
    skip, skip_b, skip_c, skip_y, skip_x, skip_top, skip_left, chosen,
    TILE_Y: tl.constexpr, TILE_X: tl.constexpr, NEIGHBOURS: tl.constexpr, HAS_SKIP: tl.constexpr,
    HAS_CHOICE: tl.constexpr, HIDDEN: tl.constexpr, UNITS: tl.constexpr, DEPTH: tl.constexpr, WAVES: tl.constexpr,
    PADDED: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SHIFT: tl.constexpr,
):  # fmt: skip
    """Values at a tile of positions into `output`; with a choice, only where `chosen` (B, n_y, n_x) LR pixels hold
    them."""
    row, column, live, picture, y, x = _tile(
        ys, xs, ys_b, ys_r, ys_c, xs_b, xs_r, xs_c, height, width, TILE_Y, TILE_X
    )  # fmt: skip
    if HAS_CHOICE:
        holder = (picture * n_y + _pixel(y, 0.0, n_y)) * n_x + _pixel(x, 0.0, n_x)
        live = live & (tl.load(chosen + holder, live, 0) != 0)
        if tl.sum(live.to(tl.int32)) == 0:
            return
    around = _around(y, x, n_y, n_x, low_y, high_y, first_y, step_y, low_x, high_x, first_x, step_x)
    blended = tl.zeros([TILE_Y * TILE_X, UNITS], tl.float32)
    for number in range(NEIGHBOURS):
        pixel_y, pixel_x, oy, ox = _neighbour(around, number, top, left)
        hidden, _, _ = _layers(
            table + picture * table_b + pixel_y * table_y + pixel_x * table_x,
            modulation + picture * mod_b + pixel_y * mod_y + pixel_x * mod_x,
            weights, live, oy, ox, HIDDEN, UNITS, DEPTH, WAVES, PADDED, HAS_SCALE, HAS_SHIFT,
        )  # fmt: skip
        blended += _share(around, number, NEIGHBOURS) * hidden
    last: tl.constexpr = ((WAVES + 1) if WAVES else 2) * HIDDEN + (DEPTH - 1) * (HIDDEN + 1) * HIDDEN
    unit = tl.arange(0, UNITS)
    if HAS_SKIP:
        above, beneath, part_y = _bilinear(y, n_y, skip_top)
        before, behind, part_x = _bilinear(x, n_x, skip_left)
    for channel in tl.static_range(3):
        weight = tl.load(weights + last + channel * HIDDEN + unit, unit < HIDDEN, 0.0)
        value = tl.sum(blended * weight[None, :], 1) + tl.load(weights + last + 3 * HIDDEN + channel)
        if HAS_SKIP:
            plane = skip + picture * skip_b + channel * skip_c
            upper = tl.load(plane + above * skip_y + before * skip_x, live, 0.0) * (1.0 - part_x)
            upper += tl.load(plane + above * skip_y + behind * skip_x, live, 0.0) * part_x
            lower = tl.load(plane + beneath * skip_y + before * skip_x, live, 0.0) * (1.0 - part_x)
            lower += tl.load(plane + beneath * skip_y + behind * skip_x, live, 0.0) * part_x
            value += upper * (1.0 - part_y) + lower * part_y
        tl.store(output + picture * out_b + channel * out_c + row * out_r + column * out_x, value, live)


@triton.jit(do_not_specialize=[*SIZES, "parts"])
def gradients(
    d_output, out_b, out_c, out_x,
    ys, xs, ys_b, ys_r, ys_c, xs_b, xs_r, xs_c, height, width,
    table, table_b, table_y, table_x, modulation, mod_b, mod_y, mod_x, weights,
    n_y, n_x, top, left, low_y, high_y, first_y, step_y, low_x, high_x, first_x, step_x,
    d_table, d_modulation, d_weights, parts, held_y, held_x, size_weights,
    TILE_Y: tl.constexpr, TILE_X: tl.constexpr, NEIGHBOURS: tl.constexpr, HIDDEN: tl.constexpr, UNITS: tl.constexpr,
    DEPTH: tl.constexpr, WAVES: tl.constexpr, PADDED: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_SHIFT: tl.constexpr,
):  # fmt: skip
    """Adds a tile's gradients to `d_table` and `d_modulation` (both (B, held_y, held_x, C)), and to one of the `parts`
    of `d_weights`: units are computed again, so that nothing of a position is kept."""
    _, column, live, picture, y, x = _tile(
        ys, xs, ys_b, ys_r, ys_c, xs_b, xs_r, xs_c, height, width, TILE_Y, TILE_X
    )  # fmt: skip
    around = _around(y, x, n_y, n_x, low_y, high_y, first_y, step_y, low_x, high_x, first_x, step_x)
    part = d_weights + ((tl.program_id(0) + tl.program_id(1) * tl.num_programs(0)) % parts).to(tl.int64) * size_weights
    unit = tl.arange(0, UNITS)
    units = unit < HIDDEN
    mask = live[:, None] & units[None, :]
    channels: tl.constexpr = (5 * WAVES // 2) if WAVES else HIDDEN
    modulations: tl.constexpr = DEPTH * HIDDEN * (HAS_SCALE + HAS_SHIFT)
    first_size: tl.constexpr = ((WAVES + 1) if WAVES else 2) * HIDDEN
    last: tl.constexpr = first_size + (DEPTH - 1) * (HIDDEN + 1) * HIDDEN
    d_blended = tl.zeros([TILE_Y * TILE_X, UNITS], tl.float32)
    for channel in tl.static_range(3):
        d_value = tl.load(d_output + picture * out_b + channel * out_c + column * out_x, live, 0.0)
        weight = tl.load(weights + last + channel * HIDDEN + unit, units, 0.0)
        d_blended += d_value[:, None] * weight[None, :]
        tl.atomic_add(part + last + 3 * HIDDEN + channel, tl.sum(d_value))
    blended = tl.zeros([TILE_Y * TILE_X, UNITS], tl.float32)
    for number in range(NEIGHBOURS):
        pixel_y, pixel_x, oy, ox = _neighbour(around, number, top, left)
        row_at = table + picture * table_b + pixel_y * table_y + pixel_x * table_x
        mod_at = modulation + picture * mod_b + pixel_y * mod_y + pixel_x * mod_x
        hidden, before, inputs = _layers(
            row_at, mod_at, weights, live, oy, ox,
            HIDDEN, UNITS, DEPTH, WAVES, PADDED, HAS_SCALE, HAS_SHIFT,
        )  # fmt: skip
        share = _share(around, number, NEIGHBOURS)
        blended += share * hidden
        d_hidden = share * d_blended
        pixel = (picture * held_y + pixel_y) * held_x + pixel_x
        d_row, d_mod = d_table + pixel * channels, d_modulation + pixel * modulations
        for step in tl.static_range(DEPTH):
            at_unit = ((DEPTH - 1 - step) * HIDDEN + unit)[None, :]
            scale, shift = 1.0, 0.0
            if HAS_SCALE:
                scale = 1.0 + tl.load(mod_at[:, None] + at_unit, mask, 0.0)
            at_shift = at_unit + DEPTH * HIDDEN * HAS_SCALE
            if HAS_SHIFT:
                shift = tl.load(mod_at[:, None] + at_shift, mask, 0.0)
            d_hidden = tl.where(before[DEPTH - 1 - step] * scale + shift > 0.0, d_hidden, 0.0)
            if HAS_SHIFT:
                tl.atomic_add(d_mod[:, None] + at_shift, d_hidden, mask)
            if HAS_SCALE:
                tl.atomic_add(d_mod[:, None] + at_unit, d_hidden * before[DEPTH - 1 - step], mask)
            d_hidden = d_hidden * scale
            if step == DEPTH - 1 and WAVES == 0:
                tl.atomic_add(d_row[:, None] + unit[None, :], d_hidden, mask)
                tl.atomic_add(part + 2 * unit, tl.sum(d_hidden * oy[:, None], 0), units)
                tl.atomic_add(part + 2 * unit + 1, tl.sum(d_hidden * ox[:, None], 0), units)
            elif step == DEPTH - 1:
                d_hidden = _linear_gradient(d_hidden, inputs[0], weights, part, WAVES, PADDED, HIDDEN, UNITS)
            else:
                at = first_size + (DEPTH - 2 - step) * (HIDDEN + 1) * HIDDEN
                given = inputs[DEPTH - 1 - step if WAVES else DEPTH - 2 - step]
                d_hidden = _linear_gradient(
                    d_hidden, given, weights + at, part + at, HIDDEN, UNITS, HIDDEN, UNITS
                )  # fmt: skip
        if WAVES:
            wave = tl.arange(0, PADDED)
            half: tl.constexpr = WAVES // 2
            some = live[:, None] & (wave < WAVES)[None, :]
            coef, trigonometric, derivative = _fourier(row_at, live, oy, ox, WAVES, PADDED)
            tl.atomic_add(d_row[:, None] + wave[None, :], d_hidden * trigonometric, some)
            d_angle = d_hidden * coef * derivative
            at_pair = d_row[:, None] + (WAVES + wave % half)[None, :]
            tl.atomic_add(at_pair, d_angle * oy[:, None], some)
            tl.atomic_add(at_pair + half, d_angle * ox[:, None], some)
            tl.atomic_add(at_pair + 2 * half, d_angle, some)
    for channel in tl.static_range(3):
        d_value = tl.load(d_output + picture * out_b + channel * out_c + column * out_x, live, 0.0)
        tl.atomic_add(part + last + channel * HIDDEN + unit, tl.sum(d_value[:, None] * blended, 0), units)
