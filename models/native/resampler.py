"""The resampler (resampler.cpp) and the sub-pixel picture (subpixel.cpp) on the CPU: contiguous tensors in, tensors
out; ValueError for others."""

import torch
from torch import Tensor

from models.native.calls import Library, address, check_shape
from utils.geometry.grids import Grid
from utils.geometry.homographies import SMALLEST_DEPTH, WarpedGrid
from utils.geometry.neighbours import PixelWindow

LINEAR, GAUSS = 0, 1  # the resampling kernels of resampler.cpp
HYPER_PARAMETERS = {LINEAR: 1, GAUSS: 3}
SUBPIXEL_TAPS = 4  # along an axis


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


def paint_subpixel(
    library: Library,
    details: Tensor,
    image: Tensor,
    factor: int,
    taps: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]],
    output: Tensor,
) -> None:
    """Fill `output` (B, C, H, W), of any strides: weighted sums of 4 x 4 pixels of the enlarged picture.

    That is `F.pixel_shuffle(details, factor)`, `details` (B, C * factor * factor, h, w), plus the bilinearly enlarged
    `image` (B, C, h + 2, w + 2), which has a pixel more on each side. `taps` are for rows and columns which pixels of
    the enlarged picture count, (4, H) and (4, W) int32, and their weights, float32. ValueError for tensors of another
    shape or type, and for pixels outside.
    """
    batch, channels, height, width = image.shape
    height, width = height - 2, width - 2
    check_shape("details", details, (batch, channels * factor**2, height, width))
    axes = []
    for (index, weight), length in zip(taps, output.shape[2:], strict=True):
        check_shape("taps", index, (SUBPIXEL_TAPS, length))
        check_shape("weights of taps", weight, (SUBPIXEL_TAPS, length))
        axes += [index, weight, length]
    check_shape("the output", output, (batch, channels, None, None))
    strides = torch.tensor(output.stride(), dtype=torch.int64, device="cpu")
    place = address(output, torch.float32, strided=True)
    sizes = batch, channels, height, width, factor
    library.call("subpixel_paint", details, image, *sizes, *axes, place, strides, torch.get_num_threads())
