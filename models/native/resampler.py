"""The resampler on the CPU (resampler.cpp): contiguous tensors in, tensors out; ValueError for others."""

import torch
from torch import Tensor

from models.native.calls import Library, check_shape
from utils.geometry.grids import Grid
from utils.geometry.homographies import SMALLEST_DEPTH, WarpedGrid
from utils.geometry.neighbours import PixelWindow

LINEAR, GAUSS = 0, 1  # the resampling kernels of resampler.cpp
HYPER_PARAMETERS = {LINEAR: 1, GAUSS: 3}


def resample_grid(
    library: Library,
    kernel: int,
    planes: Tensor,
    stretch: Tensor,
    radius: float,
    grid: Grid,
    output: Tensor,
    window: PixelWindow | None = None,
) -> None:
    """Write a picture on a grid, with the taps of `utils.geometry.neighbours.axis_taps`, into `output` (C, H, W)
    float32; ValueError for positions that are not finite.

    `planes` ((1 + K) * C, h, w) float32 holds C channels, then C of each of the K hyper-parameters of `kernel`;
    `stretch` (2,) is the factor by which the kernel reaches beyond its `radius`, in LR pixels, along y and x. `window`
    says which of a picture the planes hold (None: all); ValueError where the grid is made of others.
    """
    check_shape("planes", planes, (None, None, None))
    check_shape("a kernel's stretch", stretch, (2,))
    channels, axes = len(planes) // (1 + HYPER_PARAMETERS[kernel]), []
    for positions, factor in zip((grid.rows, grid.columns), stretch.tolist(), strict=True):
        check_shape("positions", positions, (None,))
        axes += [positions, len(positions), factor]
    check_shape("the output", output, (channels, *grid.size))
    threads = torch.get_num_threads()
    window = window or PixelWindow.whole(tuple(planes.shape[1:]))
    held = *window.size, window.top, window.left
    library.call("resample_grid", kernel, planes, *planes.shape, *held, *axes, radius, channels, output, threads)


def resample_points(
    library: Library, kernel: int, table: Tensor, stretch: Tensor, radius: float, coord: Tensor
) -> Tensor:
    """Pictures at any positions `coord` (B, 2, Q), y and x, in [-1, 1] unless beyond the border, with the taps of
    `utils.geometry.neighbours.axis_taps`: (B, C, Q) float32, NaN at positions that are not finite.

    `table` (B, h, w, (1 + K) * C) float32 holds for each pixel what `resample_grid` reads from planes; `stretch`
    (B, 2, 1, 1), or (B, 2, h, w) where it varies, is the factor by which the kernel reaches beyond its `radius`, in LR
    pixels.
    """
    pictures = _pictures(kernel, table, stretch, radius)
    check_shape("positions", coord, (len(table), 2, None))
    channels, queries = table.shape[3] // (1 + HYPER_PARAMETERS[kernel]), coord.shape[2]
    out = table.new_empty(len(table), channels, queries)
    library.call("resample_points", *pictures, coord, channels, queries, out, torch.get_num_threads())
    return out


def resample_warped(
    library: Library,
    kernel: int,
    table: Tensor,
    stretch: Tensor,
    radius: float,
    grid: WarpedGrid,
    output: Tensor,
) -> None:
    """Write `resample_points` at the pixels of a warped grid that lie inside the pictures into `output` (B, C, H, W)
    float32; the others stay as they are."""
    pictures = _pictures(kernel, table, stretch, radius)
    channels = table.shape[3] // (1 + HYPER_PARAMETERS[kernel])
    check_shape("the output", output, (len(table), channels, *grid.size))
    warp = grid.forms.contiguous(), SMALLEST_DEPTH, channels, *grid.size
    library.call("resample_warped", *pictures, *warp, output, torch.get_num_threads())


def _pictures(kernel: int, table: Tensor, stretch: Tensor, radius: float) -> tuple[object, ...]:
    """The arguments for the pictures that are resampled at positions."""
    check_shape("a table", table, (None, None, None, None))
    batch, height, width, planes = table.shape
    one_stretch = stretch.shape[2:] == (1, 1)
    check_shape("a kernel's stretch", stretch, (batch, 2, 1, 1) if one_stretch else (batch, 2, height, width))
    return kernel, table, batch, height, width, planes, stretch, one_stretch, radius
