"""The render stage of LMF on the kernels of lmf.cpp: tensors in, values written into a tensor."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.native.calls import INT, LONG, POINTER, call, pointer
from utils.geometry.neighbours import AxisLookup, AxisSpans, bilinear_taps


class _Network(ctypes.Structure):
    _fields_ = (
        *((name, LONG) for name in ("hidden", "depth", "waves", "has_scale", "has_shift")),
        ("parameters", POINTER),
    )


class _Field(ctypes.Structure):
    _fields_ = (
        ("height", LONG),
        ("width", LONG),
        ("table", POINTER),
        ("table_stride", LONG),
        ("modulation", POINTER),
        ("modulation_stride", LONG),
        ("skip", POINTER),
        ("skip_strides", LONG * 4),
    )


class _Axis(ctypes.Structure):
    _fields_ = (
        *((name, LONG) for name in ("runs", "longest", "positions")),
        *((name, POINTER) for name in ("index", "offset", "start", "length", "skip_index", "skip_fraction")),
    )


@dataclass(frozen=True)
class RenderStage:
    """A modulated MLP and the LR pixels it reads, all float32 on the CPU.

    The MLP has `depth` modulated layers, `hidden` wide, and a last one; `parameters` are their weights (out, in) and
    biases in turn. With `waves` Fourier features `table` (B, h, w, 2.5 * waves) holds amplitudes of cosines and of
    sines, frequencies along y and along x, and phases; with 0 it is (B, h, w, hidden), what the first layer gives but
    for the offset (y, x), whose columns (hidden, 2) are that layer's only parameters. `modulation` (B, h, w, C):
    scales, if `has_scale`, then shifts, if `has_shift`, of layer after layer. `skip` (B, 3, h', w') is added at every
    position by bilinear interpolation, border replicated.
    """

    library: ctypes.CDLL
    hidden: int
    depth: int
    waves: int
    has_scale: bool
    has_shift: bool
    parameters: Sequence[Tensor]
    table: Tensor
    modulation: Tensor
    skip: Tensor | None

    def render(
        self,
        rows: AxisSpans,
        columns: AxisSpans,
        positions: tuple[Tensor, Tensor],
        output: Tensor,
        chosen: Tensor | None = None,
    ) -> None:
        """Fill `output` (B, 3, H, W), of any strides: the grid of `positions` (rows (H,), columns (W,)) in runs.

        With `chosen` (B, runs of rows, runs of columns) only those pairs of runs.
        """
        axes = [self._axis(*given) for given in zip((rows, columns), positions, (2, 3), strict=True)]
        mask = None if chosen is None else chosen.to(torch.uint8).contiguous()
        strides = (LONG * 4)(*output.stride())
        self._call("lmf_render", axes, len(rows.lookup.index) ** 2, pointer(mask), pointer(output), strides)

    def sample(self, y: AxisLookup, x: AxisLookup, coord: Tensor) -> Tensor:
        """Values (B, Q, 3) at positions `coord` (B, Q, 2), whose lookups are `y` and `x`, (K, B, Q) each."""
        output = self.table.new_empty(*coord.shape[:2], 3)
        every = torch.arange(output.shape[0] * output.shape[1])
        axes = []
        for lookup, axis in ((y, 0), (x, 1)):
            flat = AxisLookup(lookup.index.flatten(1), lookup.offset.flatten(1)[..., None])
            axes.append(
                self._axis(AxisSpans(flat, every, torch.ones_like(every)), coord[..., axis].flatten(), 2 + axis)
            )
        self._call("lmf_sample", axes, len(y.index) ** 2, pointer(output))
        return output

    def _axis(self, runs: AxisSpans, positions: Tensor, dimension: int) -> tuple[_Axis, list[Tensor]]:
        """The positions of an axis, `dimension` of the skip picture, and the tensors that the structure points at."""
        kept = [runs.lookup.index, runs.lookup.offset.float(), runs.start, runs.length]
        if self.skip is not None:
            index, fraction = bilinear_taps(positions, self.skip.shape[dimension])
            kept += [index, fraction.float()]
        kept = [tensor.contiguous() for tensor in kept]
        addresses = [tensor.data_ptr() for tensor in kept] + [None] * (6 - len(kept))
        return _Axis(len(runs.start), runs.longest, len(positions), *addresses), kept

    def _call(self, function: str, axes: list[tuple[_Axis, list[Tensor]]], corners: int, *arguments: object) -> None:
        """One of the library's functions, with the network and the field in front and the threads behind."""
        parameters = torch.cat([tensor.detach().flatten() for tensor in self.parameters])
        network = _Network(self.hidden, self.depth, self.waves, self.has_scale, self.has_shift, pointer(parameters))
        (table, table_stride), (modulation, modulation_stride) = _rows(self.table), _rows(self.modulation)
        batch, height, width, _ = table.shape
        skip_strides = (LONG * 4)(*(() if self.skip is None else self.skip.stride()))
        field = _Field(
            height,
            width,
            pointer(table),
            table_stride,
            pointer(modulation),
            modulation_stride,
            pointer(self.skip),
            skip_strides,
        )
        call(
            self.library,
            function,
            ctypes.byref(network),
            ctypes.byref(field),
            LONG(batch),
            LONG(corners),
            *(ctypes.byref(axis) for axis, _ in axes),
            *arguments,
            INT(torch.get_num_threads()),
        )


def _rows(table: Tensor) -> tuple[Tensor, int]:
    """(B, h, w, C) whose pixels lie at equal distances, each in one piece, and that distance in floats."""
    batch, height, width, channels = table.shape
    batch_stride, row, pixel, channel = table.stride()
    if channel == 1 and row == width * pixel and (batch == 1 or batch_stride == height * row):
        return table, pixel
    return table.contiguous(), channels
