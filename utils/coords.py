"""Positions: every conversion between pixels and positions of the project lives here.

A position is (y, x) in [-1, 1]; pixel i of n covers [-1 + 2i/n, -1 + 2(i+1)/n] and has its centre in the middle. A
*cell* is the size of one output pixel in the same unit, (2/H, 2/W). "LR pixels" as a unit of length means `n / 2`
times that. Sub-pixel faults come from computing positions in many places, so models take them from here and nowhere
else; `utils/homographies.py` is the same for warps.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.errors import InputError

Size = tuple[int, int]
Scale = tuple[float, float]

# The four-corner lookups are shifted by this much, so that no position lies on the border of two LR pixels (LIIF).
CORNER_EPSILON = 1e-6
INSIDE = (-1 + 1e-6, 1 - 1e-6)  # where shifted lookups are clamped to
LARGEST_OUTPUT = 2**30  # pixels: 12 GB while they are computed, 3 GB more as 8-bit RGB
# Longer runs are cut, so that a block of them stays small at any scale.
LONGEST_RUN = 32


def pixel_centers(n: int, device: torch.device | None = None) -> Tensor:
    """(n,) float32 positions of the pixel centres; the two constants in double, product and sum in float32."""
    return torch.arange(n, dtype=torch.float32, device=device) * (2 / n) + (-1 + 1 / n)


def pixel_index(position: Tensor, n: int) -> Tensor:
    """Index (int64, 0..n-1) of the pixel that holds each position; ties round half to even, as grid_sample does."""
    return (((position + 1) * n - 1) / 2).round().clamp(0, n - 1).long()


@dataclass(frozen=True)
class Grid:
    """A separable grid of output positions: `rows` (H,) and `columns` (W,), both in [-1, 1]."""

    rows: Tensor
    columns: Tensor

    @classmethod
    def of_size(cls, size: Size, device: torch.device | None = None) -> "Grid":
        """The pixel centres of an (H, W) picture."""
        return cls(pixel_centers(size[0], device), pixel_centers(size[1], device))

    @property
    def size(self) -> Size:
        return len(self.rows), len(self.columns)

    def coord(self) -> Tensor:
        """(H, W, 2) positions."""
        return torch.stack(torch.meshgrid(self.rows, self.columns, indexing="ij"), dim=-1)

    def bands(self, queries: int) -> Iterator[tuple[slice, "Grid"]]:
        """Row bands of at most `queries` positions (at least one row each): (rows of the output, the band's grid)."""
        step = max(1, queries // max(1, len(self.columns)))
        for start in range(0, len(self.rows), step):
            band = slice(start, min(start + step, len(self.rows)))
            yield band, replace(self, rows=self.rows[band])


def parse_scale(value: float | str | Sequence[float]) -> Scale:
    """(height factor, width factor) of 2.5, [3, 1.5] or the text `3x1.5`; InputError for anything else."""
    parts = value.lower().split("x") if isinstance(value, str) else value
    try:
        factors = [float(part) for part in (parts if isinstance(parts, Sequence) else [parts])]
    except (TypeError, ValueError):
        factors = []
    if len(factors) not in (1, 2) or not all(0 < factor < math.inf for factor in factors):
        raise InputError(f"expected a number above 0 such as 2.5, or HEIGHTxWIDTH such as 3x1.5, not '{value}'")
    return factors[0], factors[-1]


def scale_text(factors: Scale) -> str:
    """The inverse of `parse_scale`: `2.5`, `3x1.5`."""
    return f"{factors[0]:g}" if factors[0] == factors[1] else f"{factors[0]:g}x{factors[1]:g}"


def output_size(size: Size, scale: Scale) -> Size:
    """(H, W) of an (h, w) picture enlarged by `scale` = (height factor, width factor), rounded half up, at least 1."""
    for factor in scale:
        if not (math.isfinite(factor) and factor > 0):
            raise InputError(f"scale {factor:g} is not possible; give a number above 0")
    # Beyond any possible output, and still a number
    height, width = (
        max(1, math.floor(min(n * factor, LARGEST_OUTPUT + 1) + 0.5)) for n, factor in zip(size, scale, strict=True)
    )
    return check_output_size((height, width))


def check_output_size(size: Size) -> Size:
    """`size`, or InputError when a side is below 1 or the picture would not fit any memory."""
    if min(size) < 1 or size[0] * size[1] > LARGEST_OUTPUT:
        raise InputError(
            f"an output of {size[1]}x{size[0]} pixels is not possible; sides from 1, at most {LARGEST_OUTPUT} pixels"
        )
    return size


def cell_of(size: Size, input_size: Size | None = None, largest_scale: float | None = None) -> Tensor:
    """(2,) size of one output pixel, (2/H, 2/W).

    With `input_size` (h, w) and `largest_scale`, "cell clip": no cell is smaller than at the largest scale the model
    was trained for; per axis cell * max(scale / largest_scale, 1).
    """
    cell = [2 / n for n in size]
    if input_size is not None and largest_scale is not None:
        cell = [c * max(n / n_in / largest_scale, 1) for c, n, n_in in zip(cell, size, input_size, strict=True)]
    return torch.tensor(cell, dtype=torch.float32)


def cell_in_pixels(cell: Tensor, size: Size) -> Tensor:
    """Cell in LR pixels, for per-pixel arithmetic: (B, 2) -> (B, 2, 1, 1), a map (B, 2, h, w) keeps its shape."""
    if cell.dim() == 2:
        cell = cell[:, :, None, None]
    return cell * cell.new_tensor(size)[:, None, None]


def first_pixels(batch: int, size: Size, device: torch.device) -> Tensor:
    """(B,) index of each picture's first pixel when the pixels of all (h, w) pictures are numbered in a row."""
    return torch.arange(batch, device=device) * (size[0] * size[1])


def cell_at(cell: Tensor, coord: Tensor) -> Tensor:
    """Output pixel size at the positions `coord` (B, Q, 2): (B, 1, 2) of a constant one (B, 2), (B, Q, 2) of a map."""
    return cell[:, None] if cell.dim() == 2 else sample_nearest(cell.permute(0, 2, 3, 1), coord)


def positions_of(index: Tensor, size: Size) -> Tensor:
    """(..., 2) positions of the pixels with row-major `index` (...) in an (H, W) picture."""
    rows = index.div(size[1], rounding_mode="floor")
    rows_columns = (rows, index - rows * size[1])
    return torch.stack([pixel_centers(n, index.device)[i] for n, i in zip(size, rows_columns, strict=True)], dim=-1)


def offset_from_corner(position: Tensor, cell: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """For output pixels of size `cell` centred at `position` (*S): the LR pixel that holds each one's upper-left
    corner, and how far that is from the LR pixel's own, in LR pixels (MetaSR): index (*S) and offset (*S) in [0,
    1)."""
    corner = position - cell / 2
    index = pixel_index((corner + CORNER_EPSILON).clamp(*INSIDE), n)
    return index, (corner - (pixel_centers(n, position.device)[index] - 1 / n)) * n / 2


def attention_reach(cell: Tensor, size: Size) -> Tensor:
    """How far around a position CiaoSR looks for its neighbours, (..., 2) in positions, for cells (..., 2)."""
    steps = cell.new_tensor(size) - 1
    return (1 - cell) / steps.clamp(min=1e-9)


def sample_bilinear(picture: Tensor, coord: Tensor) -> Tensor:
    """Bilinear samples of `picture` (B, C, h, w), border replicated, at `coord` (B, ..., 2): (B, ..., C)."""
    flat = coord.flip(-1).flatten(1, -2)[:, None]  # (B, 1, Q, 2) as (x, y)
    samples = F.grid_sample(picture, flat, mode="bilinear", padding_mode="border", align_corners=False)
    return samples[:, :, 0].transpose(1, 2).unflatten(1, coord.shape[1:-1])


def sample_nearest(table: Tensor, coord: Tensor) -> Tensor:
    """Rows of `table` (B, h, w, C) of the pixels that hold the positions `coord` (B, Q, 2): (B, Q, C)."""
    height, width = table.shape[1:3]
    index = pixel_index(coord[..., 0], height) * width + pixel_index(coord[..., 1], width)
    return table.flatten(1, 2).gather(1, index[..., None].expand(-1, -1, table.shape[3]))


def bilinear_taps(position: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The two pixels that `sample_bilinear` reads for positions (*S) along one axis, (2, *S), and how far from the
    first to the second each position is, (*S) in [0, 1)."""
    center = ((position + 1) * (n / 2) - 0.5).clamp(0, n - 1)  # rounded as grid_sample does
    first = center.floor()
    return torch.stack([first, (first + 1).clamp(max=n - 1)]).long(), center - first


@dataclass(frozen=True)
class AxisTaps:
    """The pixels that positions (*S) along one axis are resampled from, nearest T: `index` (T, *S) int64 in 0..n-1,
    `distance` (T, *S) position minus pixel centre in stretched pixels, `inside` (T, *S) whether it is in the
    support."""

    index: Tensor
    distance: Tensor
    inside: Tensor

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(index, distance, inside) of one tap after the other."""
        return iter(list(zip(self.index, self.distance, self.inside, strict=True)))


def tap_epsilon(n: int) -> float:
    """Positions this close (LR pixels) to a pixel centre count as on it when taps are chosen: float32 cannot tell."""
    return 1e-6 + 2e-7 * n


def axis_taps(position: Tensor, n: int, radius: float, stretch: Tensor) -> AxisTaps:
    """Pixels within `radius` * `stretch` LR pixels of each position, a broadcasting `stretch` per position.

    Beyond the border pixels are replicated. Of two pixels exactly at the two ends of the support the first one counts
    (LeRF's convention; filters are zero there). T fits the largest stretch.
    """
    center, epsilon = ((position + 1) * n - 1) / 2, tap_epsilon(n)
    reach = radius * stretch
    first = (center - reach - epsilon).ceil()
    count = (2 * reach - epsilon).ceil()  # of whole numbers in an interval of that length, open at one end
    steps = torch.arange(int(count.max()), device=position.device).view(-1, *[1] * first.dim())
    tap = first + steps  # (T, *S)
    distance = center - tap
    inside = (distance > epsilon - reach) & (steps < count)
    return AxisTaps(tap.clamp(0, n - 1).long(), (distance / stretch).float(), inside)


@dataclass(frozen=True)
class AxisLookup:
    """For positions along one axis: which LR pixels to look at, and how far away each position is from their centres.

    `index` (K, *S) int64 in 0..n-1, `offset` (K, *T) position minus pixel centre in LR pixels; K = 2 for a local
    ensemble (the pixel before and the one after), else 1. S and T broadcast against each other.
    """

    index: Tensor
    offset: Tensor


def look_up(position: Tensor, n: int, local_ensemble: bool, reach: float | Tensor | None = None) -> AxisLookup:
    """LR pixels around each position (*S) on an axis of n pixels: both neighbours, or just the one that holds it.

    Neighbours are looked for at +-`reach` (in positions, broadcasting), half a pixel unless given.
    """
    reach = 1 / n if reach is None else reach
    shifts = [-reach + CORNER_EPSILON, reach + CORNER_EPSILON] if local_ensemble else [0.0]
    shifted = torch.stack([position + shift for shift in shifts]).clamp(*INSIDE)
    index = pixel_index(shifted, n)
    return AxisLookup(index, (position - pixel_centers(n, position.device)[index]) * n)


@dataclass(frozen=True)
class AxisRuns:
    """The positions of one axis cut into R runs that look at the same LR pixels, each padded to the longest run, L.

    Between two LR centres all output pixels share their LR pixels, so what depends on those is computed once a run.
    `lookup.index` (K, R), `lookup.offset` (K, R, L); padding repeats a run's last position. `start` (R,) a run's first
    position, `length` (R,) how many are real.
    """

    lookup: AxisLookup
    start: Tensor
    length: Tensor

    @property
    def longest(self) -> int:
        """L, the padded length of every run."""
        return self.lookup.offset.shape[-1]

    def pixels(self, position: Tensor, n: int) -> Tensor:
        """(R,) LR pixel of n that holds each run's first position, given all positions (N,) of the axis."""
        return pixel_index(position[self.start], n)

    def members(self) -> Tensor:
        """(R, L) positions of the runs, padding included."""
        return run_members(self.start, self.length, self.longest)

    def blocks(self, runs: int) -> Iterator[tuple[slice, Tensor, AxisLookup]]:
        """Pieces of at most `runs` runs: (output positions, which of the piece's padded positions they are, lookup)."""
        real = torch.arange(self.longest, device=self.length.device) < self.length[:, None]  # (R, L)
        ends = (self.start + self.length).tolist()
        starts = self.start.tolist()
        for first in range(0, len(starts), runs):
            last = min(first + runs, len(starts))
            part = slice(first, last)
            lookup = AxisLookup(self.lookup.index[:, part], self.lookup.offset[:, part])
            yield slice(starts[first], ends[last - 1]), real[part].flatten().nonzero()[:, 0], lookup

    def bands(self, pixels: int) -> Iterator[tuple[slice, slice, "AxisRuns"]]:
        """Pieces that look at few LR pixels, `pixels` in a row unless one run needs more: (those LR pixels, output
        positions, the piece with both counted from its own first)."""
        nearest, farthest = self.lookup.index.amin(0).tolist(), self.lookup.index.amax(0).tolist()
        starts, ends = self.start.tolist(), (self.start + self.length).tolist()
        first = 0
        while first < len(starts):
            last = first + 1
            while last < len(starts) and farthest[last] < nearest[first] + pixels:
                last += 1
            index = self.lookup.index[:, first:last] - nearest[first]
            lookup = AxisLookup(index, self.lookup.offset[:, first:last])
            piece = AxisRuns(lookup, self.start[first:last] - starts[first], self.length[first:last])
            yield slice(nearest[first], farthest[last - 1] + 1), slice(starts[first], ends[last - 1]), piece
            first = last


def look_up_runs(position: Tensor, n: int, local_ensemble: bool, within_pixels: bool = False) -> AxisRuns:
    """`look_up` for the sorted positions (N,) of a grid's axis, grouped into runs.

    `within_pixels`: runs also end where an LR pixel does, so that each lies in one.
    """
    lookup = look_up(position, n, local_ensemble)
    total = len(position)
    same = (lookup.index[:, 1:] == lookup.index[:, :-1]).all(0)
    if within_pixels:
        same &= torch.diff(pixel_index(position, n)) == 0
    changes = torch.cat([same.new_ones(1), ~same])
    place = torch.arange(total, device=position.device)
    first = torch.where(changes, place, 0).cummax(0).values  # of the run that each position is in
    start = ((place - first) % LONGEST_RUN == 0).nonzero()[:, 0]
    length = torch.diff(start, append=start.new_tensor([total]))
    longest = int(length.max())
    if total < 0.5 * longest * len(start):  # mostly padding: positions on their own are cheaper
        start, longest = torch.arange(total, device=position.device), 1
        length = torch.ones_like(start)
    member = run_members(start, length, longest)
    return AxisRuns(AxisLookup(lookup.index[:, start], lookup.offset[:, member]), start, length)


def run_members(start: Tensor, length: Tensor, longest: int) -> Tensor:
    """(R, L) positions of runs, padded to the longest by repeating a run's last one."""
    return start[:, None] + torch.minimum(torch.arange(longest, device=start.device), length[:, None] - 1)


@dataclass(frozen=True)
class Corners:
    """The K x K LR pixels around each position (K = 2: four corners; 1: just the nearest), shapes broadcasting.

    `index` (K, K, B, *S) into the B*h*w LR pixels of all pictures in row-major order; `offset_y`, `offset_x` (K or 1,
    K or 1, B or 1, *T) position minus pixel centre, in LR pixels; `weight` (K, K, B or 1, *T) blend weights that sum
    to 1 over the corners: the area between the position and the diagonally opposite pixel (LIIF, equation 4)."""

    index: Tensor
    offset_y: Tensor
    offset_x: Tensor
    weight: Tensor

    @classmethod
    def _of(cls, index: Tensor, offset_y: Tensor, offset_x: Tensor) -> "Corners":
        area = (offset_y * offset_x).abs() + 1e-9
        return cls(index, offset_y, offset_x, area.flip(0, 1) / area.sum((0, 1)))

    @classmethod
    def of_points(cls, coord: Tensor, size: Size, local_ensemble: bool, reach: Tensor | None = None) -> "Corners":
        """Corners of any positions (B, Q, 2) in (h, w) pictures; S = T = (Q,). `reach` (B, 1 or Q, 2) as in
        `look_up`."""
        reach_y, reach_x = (None, None) if reach is None else reach.unbind(-1)
        y = look_up(coord[..., 0], size[0], local_ensemble, reach_y)
        x = look_up(coord[..., 1], size[1], local_ensemble, reach_x)
        index = y.index[:, None] * size[1] + x.index[None] + first_pixels(len(coord), size, coord.device)[:, None]
        return cls._of(index, y.offset[:, None], x.offset[None])

    @classmethod
    def of_runs(cls, y: AxisLookup, x: AxisLookup, size: Size, batch: int) -> "Corners":
        """Corners of a block of a grid, in (h, w) pictures; S = (Ry, Rx, 1, 1) and T = (Ry, Rx, Ly, Lx)."""
        first = first_pixels(batch, size, y.index.device)[:, None, None, None, None]
        index = y.index[:, None, None, :, None, None, None] * size[1] + x.index[None, :, None, None, :, None, None]
        return cls._of(
            index + first, y.offset[:, None, None, :, None, :, None], x.offset[None, :, None, None, :, None, :]
        )

    @classmethod
    def of_chosen_runs(cls, y: AxisLookup, x: AxisLookup, size: Size, chosen: Tensor) -> "Corners":
        """Corners of N pairs of runs, `chosen` (N, 3) as (picture, run of y, run of x); B = N, S = (1, 1), T = (Ly,
        Lx)."""
        picture, run_y, run_x = chosen.unbind(1)
        index = y.index[:, None, run_y] * size[1] + x.index[None, :, run_x] + picture * (size[0] * size[1])
        return cls._of(index[..., None, None], y.offset[:, None, run_y, :, None], x.offset[None, :, run_x, None, :])

    def gather(self, table: Tensor) -> Tensor:
        """Rows of `table` (B, h, w, C) at the corners: (K, K, B, *S, C)."""
        return table.flatten(0, 2).index_select(0, self.index.flatten()).unflatten(0, self.index.shape)

    def offsets(self) -> tuple[Tensor, Tensor]:
        """Offsets (y, x) with a last axis for channels, (K or 1, K or 1, B or 1, *T, 1)."""
        return self.offset_y[..., None], self.offset_x[..., None]

    def project_offset(self, weight: Tensor) -> Tensor:
        """The offsets (y, x) times a weight (C, 2): (K, K, B or 1, *T, C), built from one small tensor per axis."""
        y, x = self.offsets()
        return y * weight[:, 0] + x * weight[:, 1]

    def blend(self, values: Tensor) -> Tensor:
        """Weighted sum over the corners: (K, K, B, *T, C) -> (B, *T, C)."""
        return (values * self.weight[..., None]).sum((0, 1))
