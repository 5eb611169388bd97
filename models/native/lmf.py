"""The render stage of LMF on the CPU (lmf.cpp): tensors in, values written into a tensor."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.native.calls import LONG, Axis, Field, Library, Network, address, check_shape
from utils.errors import InputError
from utils.geometry.neighbours import AxisLookup, AxisSpans, PixelWindow, bilinear_taps

MOST_UNITS = 1 << 15  # in a layer, Fourier features and layers of a render MLP in C++


@dataclass(frozen=True)
class RenderStage:
    """A modulated MLP and the LR pixels it reads, all float32 on the CPU.

    The MLP has `depth` modulated layers of `hidden` units, and a last one; `parameters` are their weights (out, in) and
    biases in turn. With `waves` Fourier features, `table` (B, h, w, 2.5 * waves) holds amplitudes of cosines and of
    sines, frequencies along y and along x, and phases. Without any, `table` (B, h, w, hidden) is the first layer's
    output except for the part of the offset (y, x), whose columns (hidden, 2) are that layer's only parameters.
    `modulation` (B, h, w, C) holds scales, if `has_scale`, then shifts, if `has_shift`, of layer after layer. `skip`
    (B, 3, h', w') is added at every position by bilinear interpolation, border replicated; `skip_window` says which
    pixels it holds of a larger picture (None: all).

    ValueError for tensors of another shape or type, InputError for an MLP that is too large.
    """

    library: Library
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
        largest = max(self.hidden, self.depth, self.waves)
        if largest > MOST_UNITS:
            raise InputError(f"a render MLP of size {largest} is beyond {MOST_UNITS}; use backend torch")
        pixels = self.table.shape[:3]
        check_shape("a field's table", self.table, (*pixels, self.waves * 5 // 2 or self.hidden))
        per_unit = self.has_scale + self.has_shift
        check_shape("a field's modulation", self.modulation, (*pixels, per_unit * self.depth * self.hidden))
        if self.skip is not None:
            check_shape("a field's skip picture", self.skip, (len(self.table), 3, None, None))

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
        axes = [self._axis(*given) for given in zip((rows, columns), positions, (2, 3), strict=True)]
        if chosen is not None:
            check_shape("the choice of spans", chosen, (len(self.table), len(rows.start), len(columns.start)))
            chosen = chosen.to(torch.uint8).contiguous()
        strides = torch.tensor(output.stride(), dtype=torch.int64, device="cpu")
        place = address(output, torch.float32, strided=True)
        self._call("lmf_render", axes, len(rows.lookup.index) ** 2, chosen, place, strides)

    def sample(self, y: AxisLookup, x: AxisLookup, coord: Tensor) -> Tensor:
        """Values (B, Q, 3) at positions `coord` (B, Q, 2), whose lookups are `y` and `x`, (K, B, Q) each."""
        check_shape("positions", coord, (len(self.table), None, 2))
        output = self.table.new_empty(*coord.shape[:2], 3)
        every = torch.arange(output.shape[0] * output.shape[1])
        axes = []
        for lookup, axis in ((y, 0), (x, 1)):
            flat = AxisLookup(lookup.index.flatten(1), lookup.offset.flatten(1)[..., None])
            spans = AxisSpans(flat, every, torch.ones_like(every))
            axes.append(self._axis(spans, coord[..., axis].flatten(), 2 + axis))
        self._call("lmf_sample", axes, len(y.index) ** 2, output)
        return output

    def _axis(self, spans: AxisSpans, positions: Tensor, dimension: int) -> tuple[Axis, list[Tensor]]:
        """The positions of an axis, `dimension` of the skip picture, and the tensors that the structure points at."""
        count, index = len(spans.start), spans.lookup.index
        check_shape("neighbours", index, (None, count))
        check_shape("offsets", spans.lookup.offset, (len(index), count, None))
        check_shape("lengths of spans", spans.length, (count,))
        kept = [index, spans.lookup.offset.float(), spans.start, spans.length]
        if self.skip is not None:
            window = self.skip_window or PixelWindow.whole(tuple(self.skip.shape[2:]))
            first = window.top if dimension == 2 else window.left
            pair, fraction = bilinear_taps(positions, window.size[dimension - 2])
            kept += [pair - first, fraction.float()]
        kept = [tensor.contiguous() for tensor in kept]
        addresses = [address(tensor, torch.int64, torch.float32) for tensor in kept] + [None] * (6 - len(kept))
        return Axis(count, spans.longest, len(positions), *addresses), kept

    def _call(self, routine: str, axes: list[tuple[Axis, list[Tensor]]], neighbours: int, *arguments: object) -> None:
        """Call a routine with the network and the field before `arguments` and the threads after them."""
        parameters = torch.cat([tensor.detach().flatten() for tensor in self.parameters])
        shape = self.hidden, self.depth, self.waves, self.has_scale, self.has_shift, len(parameters)
        network = Network(*shape, address(parameters, torch.float32))
        (table, table_stride), (modulation, modulation_stride) = _rows(self.table), _rows(self.modulation)
        batch, height, width, _ = table.shape
        field = Field(
            height,
            width,
            address(table, torch.float32, strided=True),
            table_stride,
            address(modulation, torch.float32, strided=True),
            modulation_stride,
        )
        if self.skip is not None:
            field.skip = address(self.skip, torch.float32, strided=True)
            field.skip_size = (LONG * 2)(*self.skip.shape[2:])
            field.skip_strides = (LONG * 4)(*self.skip.stride())
        structures = (ctypes.byref(axis) for axis, _ in axes)
        threads = torch.get_num_threads()
        self.library.call(
            routine, ctypes.byref(network), ctypes.byref(field), batch, neighbours, *structures, *arguments, threads
        )


def _rows(table: Tensor) -> tuple[Tensor, int]:
    """`table` (B, h, w, C), copied unless its pixels lie at equal distances, each in one piece, and that distance in
    floats."""
    batch, height, width, channels = table.shape
    batch_stride, row, pixel, channel = table.stride()
    if channel == 1 and row == width * pixel and (batch == 1 or batch_stride == height * row):
        return table, pixel
    return table.contiguous(), channels
