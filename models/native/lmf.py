"""The render stage of LMF on the CPU (lmf.cpp): tensors in, values written into a tensor."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.native.calls import Library, address, check_shape
from utils.errors import InputError
from utils.geometry.neighbours import AxisLookup, AxisSpans, PixelWindow, bilinear_taps

MOST_UNITS = 1 << 15  # in a layer, Fourier features and layers of a render MLP in C++


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A modulated MLP and the LR pixels it reads, all float32.

    The MLP has `depth` modulated layers of `hidden` units, and a last one; `parameters` are their weights (out, in) and
    biases in turn. With `waves` Fourier features, `table` (B, h, w, 2.5 * waves) holds amplitudes of cosines and of
    sines, frequencies along y and along x, and phases. Without any, `table` (B, h, w, hidden) is the first layer's
    output except for the part of the offset (y, x), whose columns (hidden, 2) are that layer's only parameters.
    `modulation` (B, h, w, C) holds scales, if `has_scale`, then shifts, if `has_shift`, of layer after layer. `skip`
    (B, 3, h', w') is added at every position by bilinear interpolation, border replicated; `skip_window` says which
    pixels it holds of a larger picture (None: all). ValueError for tensors of another shape.
    """

    hidden: int
    depth: int
    waves: int
    has_scale: bool
    has_shift: bool
    parameters: Sequence[Tensor]
    table: Tensor
    modulation: Tensor
    skip: Tensor | None
    skip_window: PixelWindow | None = None

    def __post_init__(self) -> None:
        pixels, per_unit = self.table.shape[:3], self.has_scale + self.has_shift
        check_shape("a field's table", self.table, (*pixels, self.waves * 5 // 2 or self.hidden))
        check_shape("a field's modulation", self.modulation, (*pixels, per_unit * self.depth * self.hidden))
        if self.skip is not None:
            check_shape("a field's skip picture", self.skip, (len(self.table), 3, None, None))


@dataclass(frozen=True, kw_only=True)
class RenderStage(Stage):
    """A stage on the CPU, by lmf.cpp; InputError for an MLP that is too large."""

    library: Library

    def __post_init__(self) -> None:
        largest = max(self.hidden, self.depth, self.waves)
        if largest > MOST_UNITS:
            raise InputError(f"a render MLP of size {largest} is beyond {MOST_UNITS}; use backend torch")
        super().__post_init__()

    def render(
        self,
        rows: AxisSpans,
        columns: AxisSpans,
        positions: tuple[Tensor, Tensor],
        output: Tensor,
        chosen: Tensor | None = None,
    ) -> None:
        """Fill `output` (B, 3, H, W), of any strides: the grid of `positions` (rows (H,), columns (W,)) in spans.

        With `chosen` (B, spans of rows, spans of columns) only those pairs of spans.
        """
        check_shape("the output", output, (len(self.table), 3, *map(len, positions)))
        if chosen is not None:
            check_shape("the choice of spans", chosen, (len(self.table), len(rows.start), len(columns.start)))
            chosen = chosen.to(torch.uint8).contiguous()
        strides = torch.tensor(output.stride(), dtype=torch.int64, device="cpu")
        place = address(output, torch.float32, strided=True)
        self._call("lmf_render", (rows, columns), positions, chosen, place, strides)

    def sample(self, y: AxisLookup, x: AxisLookup, coord: Tensor) -> Tensor:
        """Values (B, Q, 3) at positions `coord` (B, Q, 2), whose lookups are `y` and `x`, (K, B, Q) each."""
        check_shape("positions", coord, (len(self.table), None, 2))
        output = self.table.new_empty(*coord.shape[:2], 3)
        every = torch.arange(output.shape[0] * output.shape[1])
        flat = (AxisLookup(axis.index.flatten(1), axis.offset.flatten(1)[..., None]) for axis in (y, x))
        spans = tuple(AxisSpans(lookup, every, torch.ones_like(every)) for lookup in flat)
        self._call("lmf_sample", spans, coord.flatten(0, 1).unbind(1), output)
        return output

    def _call(self, routine: str, axes: Sequence[AxisSpans], positions: Sequence[Tensor], *arguments: object) -> None:
        """Call a routine for spans along y and x and the positions in them, with what else it takes."""
        record, parameters = self.library.record, torch.cat([tensor.detach().flatten() for tensor in self.parameters])
        shape = self.hidden, self.depth, self.waves, self.has_scale, self.has_shift, len(parameters)
        network = record("Network", *shape, address(parameters, torch.float32))
        tables = [_rows(self.table), _rows(self.modulation)]
        places = [(address(table, torch.float32, strided=True), stride) for table, stride in tables]
        skip = [None] * 7
        if self.skip is not None:
            skip = [address(self.skip, torch.float32, strided=True), *self.skip.shape[2:], *self.skip.stride()]
        field = record("Field", *self.table.shape[1:3], *places[0], *places[1], *skip)
        kept, spans = [], []  # tensors at the addresses in `spans`
        for axis, (span, position) in enumerate(zip(axes, positions, strict=True)):
            kept.append(self._axis(span, position, axis))
            places = [address(tensor, torch.int64, torch.float32) for tensor in kept[-1]]
            places += [None] * (6 - len(places))
            spans.append(record("Axis", len(span.start), span.longest, len(position), *places))
        neighbours = len(axes[0].lookup.index) ** 2
        threads = torch.get_num_threads()
        self.library.call(routine, network, field, len(self.table), neighbours, *spans, *arguments, threads)

    def _axis(self, spans: AxisSpans, positions: Tensor, axis: int) -> list[Tensor]:
        """The tensors that the structure of an axis (0: y) points at."""
        count, index = len(spans.start), spans.lookup.index
        check_shape("neighbours", index, (None, count))
        check_shape("offsets", spans.lookup.offset, (len(index), count, None))
        check_shape("lengths of spans", spans.length, (count,))
        pointed = [index, spans.lookup.offset.float(), spans.start, spans.length]
        if self.skip is not None:
            window = self.skip_window or PixelWindow.whole(tuple(self.skip.shape[2:]))
            pair, fraction = bilinear_taps(positions, window.size[axis])
            pointed += [pair - (window.top, window.left)[axis], fraction.float()]
        return [tensor.contiguous() for tensor in pointed]


def _rows(table: Tensor) -> tuple[Tensor, int]:
    """`table` (B, h, w, C), copied unless its pixels lie at equal distances, each in one piece, and that distance in
    floats."""
    batch, height, width, channels = table.shape
    batch_stride, row, pixel, channel = table.stride()
    if channel == 1 and row == width * pixel and (batch == 1 or batch_stride == height * row):
        return table, pixel
    return table.contiguous(), channels
