"""LR pixels read by a position, with offsets from their centres: resampling taps, spans of grid positions that read
the same pixels, and the neighbours of a local ensemble."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from utils.geometry.grids import INSIDE, NEIGHBOUR_EPSILON, Size, pixel_centers, pixel_index

# Longer spans are cut, so that a block of them stays small at any scale.
LONGEST_SPAN = 32


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

    def from_pixel(self, first: int) -> "AxisTaps":
        """The same with pixels counted from `first` on."""
        return self if first == 0 else replace(self, index=self.index - first)

    def part(self, positions: slice) -> "AxisTaps":
        """The taps of some positions of an axis."""
        return AxisTaps(self.index[:, positions], self.distance[:, positions], self.inside[:, positions])

    def to(self, device: torch.device) -> "AxisTaps":
        """The same on a device."""
        return AxisTaps(self.index.to(device), self.distance.to(device), self.inside.to(device))


def tap_epsilon(n: int) -> float:
    """Positions this close (LR pixels) to a pixel centre count as on it when taps are chosen: float32 cannot tell."""
    return 1e-6 + 2e-7 * n


def axis_taps(position: Tensor, n: int, radius: float, stretch: Tensor, taps: int | None = None) -> AxisTaps:
    """Pixels within `radius` * `stretch` LR pixels of each position, a broadcasting `stretch` per position.

    Beyond the border pixels are replicated. Of two pixels exactly at the two ends of the support the first one counts
    (LeRF's convention; filters are zero there). T fits the largest stretch, unless it is given as `taps`, so that
    the device that holds the positions is not asked.
    """
    center, epsilon = ((position + 1) * n - 1) / 2, tap_epsilon(n)
    reach = radius * stretch
    first = (center - reach - epsilon).ceil()
    count = (2 * reach - epsilon).ceil()  # of whole numbers in an interval of that length, open at one end
    steps = torch.arange(int(count.max()) if taps is None else taps, device=position.device).view(
        -1, *[1] * first.dim()
    )
    tap = first + steps  # (T, *S)
    distance = center - tap
    inside = (distance > epsilon - reach) & (steps < count)
    return AxisTaps(tap.clamp(0, n - 1).long(), (distance / stretch).float(), inside)


@dataclass(frozen=True)
class AxisLookup:
    """LR pixels near positions along one axis, and the offsets of the positions from their centres.

    `index` (K, *S) int64 in 0..n-1, `offset` (K, *T) position minus pixel centre in LR pixels; K = 2 for a local
    ensemble (the pixel before and the one after), else 1. S and T broadcast against each other.
    """

    index: Tensor
    offset: Tensor

    def from_pixel(self, first: int) -> "AxisLookup":
        """The same with pixels counted from `first` on."""
        return self if first == 0 else replace(self, index=self.index - first)

    def to(self, device: torch.device) -> "AxisLookup":
        """The same on a device."""
        return AxisLookup(self.index.to(device), self.offset.to(device))

    def part(self, which: slice | Tensor) -> "AxisLookup":
        """That of some positions or spans, S."""
        return AxisLookup(self.index[:, which], self.offset[:, which])


def look_up(position: Tensor, n: int, local_ensemble: bool, reach: float | Tensor | None = None) -> AxisLookup:
    """LR pixels around each position (*S) on an axis of n pixels: both neighbours, or just the one that holds it.

    Neighbours are looked for at +-`reach` (in positions, broadcasting), half a pixel unless given.
    """
    reach = 1 / n if reach is None else reach
    shifts = [-reach + NEIGHBOUR_EPSILON, reach + NEIGHBOUR_EPSILON] if local_ensemble else [0.0]
    shifted = torch.stack([position + shift for shift in shifts]).clamp(*INSIDE)
    index = pixel_index(shifted, n)
    return AxisLookup(index, (position - pixel_centers(n, position.device)[index]) * n)


@dataclass(frozen=True)
class AxisSpans:
    """The positions of one axis cut into R spans that look at the same LR pixels, each padded to the longest span, L.

    Between two LR centres all output pixels share their LR pixels, so what depends on those is computed once a span.
    `lookup.index` (K, R), `lookup.offset` (K, R, L); padding repeats a span's last position. `start` (R,) is a span's
    first position, `length` (R,) how many are real.
    """

    lookup: AxisLookup
    start: Tensor
    length: Tensor

    @property
    def longest(self) -> int:
        """L, the padded length of every span."""
        return self.lookup.offset.shape[-1]

    def members(self) -> Tensor:
        """(R, L) positions of the spans, padded."""
        return _members(self.start, self.length, self.longest)

    def from_pixel(self, first: int) -> "AxisSpans":
        """The same with pixels counted from `first` on."""
        return replace(self, lookup=self.lookup.from_pixel(first))

    def pixels(self, position: Tensor, n: int) -> Tensor:
        """(R,) LR pixel of n that holds each span's first position, given all positions (N,) of the axis."""
        return pixel_index(position[self.start], n)

    def blocks(self, spans: int, device: torch.device) -> Iterator[tuple[slice, Tensor, AxisLookup]]:
        """At most `spans` spans at a time: (output positions, which padded positions of the block they are, lookup), on
        a device, to which all are copied together."""
        real = torch.arange(self.longest, device=self.length.device) < self.length[:, None]  # (R, L)
        starts, ends = self.start.tolist(), (self.start + self.length).tolist()
        parts = [slice(first, min(first + spans, len(starts))) for first in range(0, len(starts), spans)]
        places = [real[part].flatten().nonzero()[:, 0] for part in parts]
        lookup, joined = self.lookup.to(device), torch.cat(places).to(device)
        for part, place in zip(parts, joined.split([len(place) for place in places]), strict=True):
            yield slice(starts[part.start], ends[part.stop - 1]), place, lookup.part(part)


def look_up_spans(position: Tensor, n: int, local_ensemble: bool, within_pixels: bool = False) -> AxisSpans:
    """`look_up` for the sorted positions (N,) of a grid's axis, grouped into spans.

    `within_pixels`: spans also end where an LR pixel does, so that each lies in one.
    """
    lookup = look_up(position, n, local_ensemble)
    total = len(position)
    same = (lookup.index[:, 1:] == lookup.index[:, :-1]).all(0)
    if within_pixels:
        same &= torch.diff(pixel_index(position, n)) == 0
    changes = torch.cat([same.new_ones(1), ~same])
    place = torch.arange(total, device=position.device)
    first = torch.where(changes, place, 0).cummax(0).values  # of the span that each position is in
    start = ((place - first) % LONGEST_SPAN == 0).nonzero()[:, 0]
    length = torch.diff(start, append=start.new_tensor([total]))
    longest = int(length.max())
    if total < 0.5 * longest * len(start):  # mostly padding: positions on their own are cheaper
        start, longest = torch.arange(total, device=position.device), 1
        length = torch.ones_like(start)
    member = _members(start, length, longest)
    return AxisSpans(AxisLookup(lookup.index[:, start], lookup.offset[:, member]), start, length)


def _members(start: Tensor, length: Tensor, longest: int) -> Tensor:
    """(R, L) positions of spans, padded to the longest by repeating a span's last one."""
    return start[:, None] + torch.minimum(torch.arange(longest, device=start.device), length[:, None] - 1)


@dataclass(frozen=True)
class PixelWindow:
    """Some pixels of an (h, w) picture, of `size`: `height` rows from `top` on, `width` columns from `left` on."""

    size: Size
    top: int
    left: int
    height: int
    width: int

    @classmethod
    def whole(cls, size: Size) -> "PixelWindow":
        """All pixels."""
        return cls(size, 0, 0, *size)

    @classmethod
    def around(cls, size: Size, pixels: tuple[range, range], margin: int) -> "PixelWindow":
        """The rows and columns `pixels` and `margin` more on each side, as far as the picture goes."""
        return cls.of_spans(size, *pixels).grown(margin)

    @classmethod
    def of_spans(cls, size: Size, rows: slice | range, columns: slice | range) -> "PixelWindow":
        """These rows and columns."""
        return cls(size, rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)

    def clipped(self, outer: "PixelWindow") -> "PixelWindow":
        """The intersection with `outer`, which must not be empty."""
        rows, columns = (
            slice(max(a.start, b.start), min(a.stop, b.stop))
            for a, b in ((self.rows, outer.rows), (self.columns, outer.columns))
        )
        return PixelWindow.of_spans(self.size, rows, columns)

    def grown(self, margin: int) -> "PixelWindow":
        """With `margin` more rows and columns on each side, as far as the picture goes."""
        # By slices, not ranges, whose ends are numbers: a graph that is traced is made for other sizes, too
        ends = ((self.rows, self.size[0]), (self.columns, self.size[1]))
        rows, columns = (slice(max(span.start - margin, 0), min(span.stop + margin, n)) for span, n in ends)
        return PixelWindow.of_spans(self.size, rows, columns)

    @property
    def rows(self) -> slice:
        """Rows of the whole picture."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """Columns of the whole picture."""
        return slice(self.left, self.left + self.width)

    def of(self, picture: Tensor) -> Tensor:
        """These pixels of whole pictures (..., h, w)."""
        return picture[..., self.rows, self.columns]

    def shrunk(self, margin: int) -> "PixelWindow":
        """Without `margin` rows and columns wherever the picture goes on beyond."""
        ends = []
        for first, count, n in ((self.top, self.height, self.size[0]), (self.left, self.width, self.size[1])):
            ends.append((first + margin if first else 0, first + count - (margin if first + count < n else 0)))
        (top, bottom), (left, right) = ends
        return PixelWindow(self.size, top, left, bottom - top, right - left)

    def within(self, outer: "PixelWindow") -> "PixelWindow":
        """These pixels in coordinates of the enclosing window `outer`."""
        size = outer.height, outer.width
        return PixelWindow(size, self.top - outer.top, self.left - outer.left, self.height, self.width)

    def index(self, row: Tensor, column: Tensor, picture: Tensor | int) -> Tensor:
        """Row-major numbers, in tables (B, height, width, C), of the pixels at rows and columns of the whole
        pictures."""
        return (row - self.top) * self.width + (column - self.left) + picture * (self.height * self.width)


@dataclass(frozen=True)
class Neighbours:
    """The K x K LR pixels around each position (K = 2: all four; 1: just the nearest), shapes broadcasting.

    `index` (K, K, B, *S) into the B*h*w LR pixels of all pictures in row-major order; `offset_y`, `offset_x` (K or 1,
    K or 1, B or 1, *T) position minus pixel centre, in LR pixels; `weight` (K, K, B or 1, *T) blend weights that sum
    to 1 over them: the area between the position and the diagonally opposite pixel (LIIF, equation 4)."""

    index: Tensor
    offset_y: Tensor
    offset_x: Tensor
    weight: Tensor

    @classmethod
    def _of(cls, index: Tensor, offset_y: Tensor, offset_x: Tensor) -> "Neighbours":
        area = (offset_y * offset_x).abs() + 1e-9
        return cls(index, offset_y, offset_x, area.flip(0, 1) / area.sum((0, 1)))

    @classmethod
    def of_points(
        cls, coord: Tensor, pixels: PixelWindow, local_ensemble: bool, reach: Tensor | None = None
    ) -> "Neighbours":
        """Neighbours of any positions (B, Q, 2); S = T = (Q,). `reach` (B, 1 or Q, 2) as in `look_up`."""
        reach_y, reach_x = (None, None) if reach is None else reach.unbind(-1)
        y = look_up(coord[..., 0], pixels.size[0], local_ensemble, reach_y)
        x = look_up(coord[..., 1], pixels.size[1], local_ensemble, reach_x)
        picture = torch.arange(coord.shape[0], device=coord.device)[:, None]
        index = pixels.index(y.index[:, None], x.index[None], picture)
        return cls._of(index, y.offset[:, None], x.offset[None])

    @classmethod
    def of_spans(cls, y: AxisLookup, x: AxisLookup, pixels: PixelWindow, batch: int) -> "Neighbours":
        """Neighbours of a block of a grid; S = (Ry, Rx, 1, 1) and T = (Ry, Rx, Ly, Lx)."""
        picture = torch.arange(batch, device=y.index.device)[:, None, None, None, None]
        row, column = y.index[:, None, None, :, None, None, None], x.index[None, :, None, None, :, None, None]
        index = pixels.index(row, column, picture)
        return cls._of(index, y.offset[:, None, None, :, None, :, None], x.offset[None, :, None, None, :, None, :])

    @classmethod
    def of_pairs(cls, y: AxisLookup, x: AxisLookup, pixels: PixelWindow) -> "Neighbours":
        """Neighbours of N pairs of spans in one picture; S = (N, 1, 1) and T = (N, Ly, Lx)."""
        row, column = y.index[:, None, None, :, None, None], x.index[None, :, None, :, None, None]
        index = pixels.index(row, column, 0)
        return cls._of(index, y.offset[:, None, None, :, :, None], x.offset[None, :, None, :, None])

    def each(self) -> Iterator["Neighbours"]:
        """One of K x K neighbours after the other, y first."""
        for i, j in itertools.product(range(len(self.offset_y)), range(self.offset_x.shape[1])):
            y, x = slice(i, i + 1), slice(j, j + 1)
            yield Neighbours(self.index[y, x], self.offset_y[y], self.offset_x[:, x], self.weight[y, x])

    def gather(self, table: Tensor) -> Tensor:
        """Rows of `table` (B, h, w, C) at the neighbours: (K, K, B, *S, C)."""
        return table.flatten(0, 2).index_select(0, self.index.flatten()).unflatten(0, self.index.shape)

    def offsets(self) -> tuple[Tensor, Tensor]:
        """Offsets (y, x) with a last axis for channels, (K or 1, K or 1, B or 1, *T, 1)."""
        return self.offset_y[..., None], self.offset_x[..., None]

    def project_offset(self, weight: Tensor) -> Tensor:
        """The offsets (y, x) times a weight (C, 2): (K, K, B or 1, *T, C), built from one small tensor per axis."""
        y, x = self.offsets()
        return y * weight[:, 0] + x * weight[:, 1]

    def blend(self, values: Tensor) -> Tensor:
        """Weighted sum over the neighbours: (K, K, B, *T, C) -> (B, *T, C)."""
        return (values * self.weight[..., None]).sum((0, 1))
