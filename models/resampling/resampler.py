"""The one resampler: output pixels as weighted sums of the pixels around them, for filters, networks and tables."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.continuous import ContinuousModel, Field, Latent, Tiling
from models.native import backends
from models.native.calls import Library
from models.native.fused import grid_positions, points
from models.native.resampler import GAUSS, LINEAR, resample_grid, resample_points, resample_warped
from models.resampling.kernels import AmplifiedLinear, Kernel, SeparableKernel, SteerableGaussian
from utils import progress
from utils.errors import InputError
from utils.geometry.grids import Grid, OutputGrid, cell_in_pixels, first_pixels, row_chunks, sample_nearest
from utils.geometry.homographies import LARGEST_CELL, WarpedGrid
from utils.geometry.neighbours import AxisTaps, axis_taps

NATIVE_KERNELS = {AmplifiedLinear: LINEAR, SteerableGaussian: GAUSS}
LARGEST = 2 * LARGEST_CELL  # cell: what the largest kernel of a warp is in a picture of one pixel


@dataclass(frozen=True, kw_only=True)
class ResamplingField(Field):
    """`table` (B, h, w, (1 + K) * C): C values of each pixel, then C of each of its K hyper-parameters; `stretch`, how
    much wider than published the kernel is, (B, 2, 1, 1) or per pixel (B, 2, h, w), and the largest of it."""

    stretch: Tensor
    largest_stretch: float = 1.0


class Resampler(ContinuousModel):
    """Weighted mean of the pixels within the kernel's radius of a position; border replicated.

    Where output pixels are larger than input pixels the kernel is stretched to their size (`antialias`). A subclass
    sets `kernel` and says in `encode` what is resampled: `latent.features` is the field's table, channels first.
    """

    trained_scales = None
    averages = True
    tiling = Tiling.INTERNAL
    cell_on_cpu = True

    def __init__(self, kernel: Kernel, antialias: bool = True):
        super().__init__()
        self.kernel = kernel
        self.antialias = antialias
        self.floats_per_query = 6 * (1 + len(kernel.hyper_parameters))

    def field(self, latent: Latent, cell: Tensor) -> ResamplingField:
        if not ((cell >= 0) & (cell <= LARGEST)).all():
            raise InputError(f"an output pixel has a size beyond 0..{LARGEST:g} (the picture's side is 2)")
        channels, hyper = latent.features.shape[1], self.kernel.hyper_parameters
        size = latent.size if latent.window else tuple(latent.features.shape[-2:])
        if channels % (1 + len(hyper)):
            raise ValueError(f"{channels} channels are not values with {len(hyper)} hyper-parameters each")
        output_pixel = cell_in_pixels(cell, size) / 2
        if cell.dim() == 4 and cell.shape[-2:] != size:  # a map for the pixels of a picture that was enlarged
            output_pixel = F.interpolate(output_pixel, size, mode="nearest-exact")
        stretch = output_pixel.clamp(min=1) if self.antialias else torch.ones_like(output_pixel)
        largest = float(stretch.max())
        if largest == 1:
            stretch = stretch.new_ones(len(stretch), 2, 1, 1)
        elif cell.dim() == 4:
            stretch = stretch.to(latent.features.device)
        about = {"window": latent.window, "stretch": stretch, "largest_stretch": largest}
        # The native routines read planes for grids, so the table is a view of planes. For positions, which a map of
        # cells is made for, they read pixels; a view would be copied at every call.
        if cell.dim() == 2 and self.library(latent.features) is not None:
            return ResamplingField(latent.features.contiguous().permute(0, 2, 3, 1), **about)
        return ResamplingField(latent.features.permute(0, 2, 3, 1).contiguous(), **about)

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        return []

    @property
    def native_library(self) -> str | None:
        return "resampler" if type(self.kernel) in NATIVE_KERNELS else None

    def library(self, *tensors: Tensor) -> Library | None:
        """The native routines, if there are any for this kernel and these tensors."""
        return self.native_library and backends.choose(self.native_library, *tensors)

    def taps(self, position: Tensor, n: int, stretch: Tensor, largest_stretch: float | None = None) -> AxisTaps:
        """Taps (T, *S) of positions (*S) along one axis of n pixels; T is found from the `largest_stretch` where that
        is known."""
        taps = None if largest_stretch is None else math.ceil(2 * self.kernel.radius * largest_stretch)
        return axis_taps(position, n, self.kernel.radius, stretch, taps)

    def blend(self, taps: Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]) -> Tensor:
        """Weighted mean over taps, each (rows of the table (*S, (1 + K) * C), dy, dx, whether it counts): (*S, C)."""
        total, norm = 0, 0
        for rows, dy, dx, inside in taps:
            values, *hyper = rows.chunk(1 + len(self.kernel.hyper_parameters), dim=-1)
            weight = self.kernel.weight(dy[..., None], dx[..., None], hyper) * inside[..., None]
            total, norm = total + weight * values, norm + weight
        return total / norm

    def _fuses(self, field: ResamplingField) -> bool:
        """Whether Triton's kernels resample the field."""
        shaped = type(self.kernel) in NATIVE_KERNELS and not torch.is_grad_enabled()
        return shaped and backends.fuses(field.table)

    def _fused(self, field: ResamplingField, positions: tuple, output: Tensor, strides: Sequence[int]) -> None:
        """Write the values at positions, as `native.fused` describes them, into `output`, in one launch."""
        from models.native.triton_lerf import resampled  # imports Triton, where it is needed

        gauss, stretch = type(self.kernel) is SteerableGaussian, field.stretch.to(output.device)
        taps = math.ceil(2 * self.kernel.radius * field.largest_stretch)
        about = taps, self.kernel.radius, gauss, field.pixels
        resampled(field.table, stretch, *about, positions, output, strides)

    def sample(self, field: ResamplingField, coord: Tensor) -> Tensor:
        if self._fuses(field):
            channels = field.table.shape[3] // (1 + len(self.kernel.hyper_parameters))
            output = field.table.new_empty(*coord.shape[:2], channels)
            batch, query, channel = output.stride()
            self._fused(field, points(coord.float()), output, (batch, channel, 0, query))
            return output
        library = self.library(field.table, coord)
        if library is not None:
            positions = coord.transpose(1, 2).contiguous()
            return resample_points(library, *self.native_arguments(field), positions).transpose(1, 2)
        stretch = sample_nearest(field.stretch.to(coord.device).permute(0, 2, 3, 1), coord)  # (B, Q, 2)
        largest = None if coord.is_cpu else field.largest_stretch
        y = self.taps(coord[..., 0], field.size[0], stretch[..., 0], largest)
        x = self.taps(coord[..., 1], field.size[1], stretch[..., 1], largest)
        first = first_pixels(field.batch, field.size, coord.device)[:, None]
        rows = field.table.flatten(0, 2)  # (B * h * w, (1 + K) * C)

        def taps() -> Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]:
            for row, dy, in_y in y:
                for column, dx, in_x in x:
                    index = first + row * field.size[1] + column  # (B, Q)
                    yield rows.index_select(0, index.flatten()).unflatten(0, index.shape), dy, dx, in_y & in_x

        return self.blend(taps())

    def native_arguments(self, field: ResamplingField) -> tuple[int, Tensor, Tensor, float]:
        """Kernel, table, stretch and radius for the native routines."""
        return (
            NATIVE_KERNELS[type(self.kernel)],
            field.table.contiguous(),
            field.stretch.contiguous(),
            self.kernel.radius,
        )

    def paint(self, field: ResamplingField, grid: OutputGrid, output: Tensor) -> None:
        if isinstance(grid, Grid) and self._fuses(field):
            self._fused(field, grid_positions(grid, output.device), output, output.stride())
            progress.advance(grid.size[0] * grid.size[1])
        elif isinstance(grid, Grid) and field.stretch.shape[-2:] == (1, 1):
            library = self.library(field.table, grid.rows, grid.columns)
            for number, picture in enumerate(output):
                self._paint_separably(library, field.picture(number), grid, picture)
        elif isinstance(grid, WarpedGrid) and (library := self.library(field.table)) is not None:
            resample_warped(library, *self.native_arguments(field), grid, output)
            progress.advance(grid.size[0] * grid.size[1])
        else:
            super().paint(field, grid, output)

    def _paint_separably(self, library: Library | None, field: ResamplingField, grid: Grid, output: Tensor) -> None:
        """`paint` one picture, into (C, H, W), with a kernel of one size."""
        (height, width), stretch = field.size, field.stretch[0, :, 0, 0].cpu()
        if library is not None:
            planes, kernel = field.table[0].permute(2, 0, 1).contiguous(), NATIVE_KERNELS[type(self.kernel)]
            resample_grid(library, kernel, planes, stretch, self.kernel.radius, grid, output, field.pixels)
            progress.advance(grid.size[0] * grid.size[1])
            return
        x = self.taps(grid.columns, width, stretch[1]).from_pixel(field.pixels.left).to(output.device)
        y = self.taps(grid.rows, height, stretch[0]).from_pixel(field.pixels.top).to(output.device)
        for rows in row_chunks(grid.size, self._chunk_queries(field)):
            painted = self.resample(field.table[0], y.part(rows), x).permute(2, 0, 1)
            output[:, rows] = painted
            progress.advance(painted[0].numel())

    def resample(self, picture: Tensor, y: AxisTaps, x: AxisTaps) -> Tensor:
        """A picture's table (h, w, (1 + K) * C) on the grid whose rows and columns have the taps y and x: (H, W,
        C)."""
        if isinstance(self.kernel, SeparableKernel):
            return resample_axis(resample_axis(picture, y, self.kernel, 0), x, self.kernel, 1)

        def taps() -> Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]:
            for row, dy, in_y in y:
                rows = picture.index_select(0, row)
                for column, dx, in_x in x:
                    yield rows.index_select(1, column), dy[:, None], dx, in_y[:, None] & in_x

        return self.blend(taps())


def resample_axis(picture: Tensor, taps: AxisTaps, kernel: SeparableKernel, axis: int) -> Tensor:
    """Weighted means of the rows (axis 0) or columns (1) of an (h, w, C) picture."""
    weights = kernel.profile(taps.distance.abs()) * taps.inside
    weights = (weights / weights.sum(0)).unflatten(1, (-1, 1, 1) if axis == 0 else (-1, 1))
    total = picture.index_select(axis, taps.index[0]) * weights[0]
    for index, weight in zip(taps.index[1:], weights[1:], strict=True):
        total = total.addcmul_(picture.index_select(axis, index), weight)
    return total
