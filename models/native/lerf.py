"""LeRF on the CPU: table stages (lerf.cpp) and the resampler (resampler.cpp), tensors in, tensors out.

All tensors are contiguous. A wrong shape or type is a mistake of the caller's code and raises ValueError.
"""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from models.native.calls import DOUBLE, FLOAT, INT, LONG, POINTER, call, pointer
from models.native.positions import forms_of
from utils.geometry.homographies import SMALLEST_DEPTH, WarpedGrid
from utils.geometry.neighbours import AxisTaps, tap_epsilon

ENTRIES = 17**4
PIXELS = 4
HYPER_PARAMETERS = {"linear": 1, "gauss": 3}  # of the kernels that resampler.cpp knows


def to_levels(library: ctypes.CDLL, values: Tensor) -> Tensor:
    """Values in [0, 1], float32, as levels 0..255, uint8, rounded half to even, clipped."""
    _check(values, torch.float32, values.shape)
    levels = torch.empty_like(values, dtype=torch.uint8)
    library.lerf_levels(pointer(values), LONG(values.numel()), pointer(levels))
    return levels


def write_values(library: ctypes.CDLL, levels: Tensor, values: Tensor) -> None:
    """Levels / 255 into `values`, float32 of the same shape."""
    _check(levels, torch.uint8, levels.shape)
    _check(values, torch.float32, levels.shape)
    library.lerf_values(pointer(levels), LONG(levels.numel()), pointer(values))


def table_stage(
    library: ctypes.CDLL,
    levels: Tensor,
    tables: Sequence[Tensor],
    offsets: Sequence[Sequence[tuple[int, int]]],
    divisor: float,
    offset: float,
) -> Tensor:
    """What tables say of the four pixels around each pixel, by simplex interpolation: the sum, exact in whole numbers,
    / `divisor` + `offset`, rounded half to even and clipped to 0..255, (K, N, h, w) uint8.

    `levels` (N, h, w) uint8, border replicated; `tables`, each (83521, K) float32, K 1 or 3, taken as whole numbers in
    -127..127. `offsets`, one for each table, are (dy, dx) of its four pixels. It is also read at the same ones turned
    by 180 degrees; seen from the last pixel they have to be the four in reverse order.
    """
    values = tables[0].shape[1]
    _check(levels, torch.uint8, (None, None, None))
    if len(tables) != len(offsets) or values not in (1, 3):
        raise ValueError(f"{len(tables)} tables of {values} values for {len(offsets)} patterns")
    for table, pixels in zip(tables, offsets, strict=True):
        _check(table, torch.float32, (ENTRIES, values))
        turned = [(pixels[-1][0] - dy, pixels[-1][1] - dx) for dy, dx in reversed(pixels)]
        if len(pixels) != PIXELS or list(pixels) != turned:
            raise ValueError(f"pattern {pixels} is not the same from its last pixel")
    places = torch.tensor(offsets, dtype=torch.int32, device="cpu")  # (units, 4, 2)
    out = levels.new_empty(values, *levels.shape)
    call(
        library,
        "lerf_stage",
        (POINTER * len(tables))(*(table.data_ptr() for table in tables)),
        pointer(places),
        INT(len(tables)),
        INT(values),
        pointer(levels),
        *map(LONG, levels.shape),
        FLOAT(divisor),
        FLOAT(offset),
        pointer(out),
        INT(torch.get_num_threads()),
    )
    return out


def resample_grid(library: ctypes.CDLL, kernel: str, planes: Tensor, y: AxisTaps, x: AxisTaps, output: Tensor) -> None:
    """Write a picture on the grid whose rows (H) and columns (W) have the taps y and x into `output` (C, H, W) float32.

    `planes` ((1 + K) * C, h, w) float32 holds C channels, then C of each of the K hyper-parameters of `kernel`.
    """
    _check(planes, torch.float32, (None, None, None))
    channels = _channels(kernel, len(planes))
    axes = []
    for taps in (y, x):
        for tensor, dtype in ((taps.index, torch.int64), (taps.distance, torch.float32), (taps.inside, torch.bool)):
            _check(tensor, dtype, taps.index.shape)
        axes += [*map(pointer, (taps.index, taps.distance, taps.inside)), *map(LONG, taps.index.shape)]
    _check(output, torch.float32, (channels, y.index.shape[1], x.index.shape[1]))
    call(
        library,
        "resample_grid",
        INT(kernel == "gauss"),
        pointer(planes),
        LONG(channels),
        *map(LONG, planes.shape[1:]),
        *axes,
        pointer(output),
        INT(torch.get_num_threads()),
    )


def resample_points(
    library: ctypes.CDLL, kernel: str, table: Tensor, stretch: Tensor, radius: float, coord: Tensor
) -> Tensor:
    """Pictures at any finite positions `coord` (B, 2, Q), y and x, in [-1, 1] unless beyond the border, with the taps
    of `utils.geometry.neighbours.axis_taps`: (B, C, Q) float32.

    `table` (B, h, w, (1 + K) * C) float32 holds for each pixel what `resample_grid` has in planes; `stretch`
    (B, 2, 1, 1), or (B, 2, h, w) where it varies, is how much wider than `radius`, in LR pixels, the kernel reaches.
    """
    channels, pictures = _pictures(kernel, table, stretch, radius)
    _check(coord, torch.float32, (len(table), 2, None))
    out = table.new_empty(len(table), channels, coord.shape[2])
    queries, threads = LONG(coord.shape[2]), INT(torch.get_num_threads())
    call(library, "resample_points", *pictures, pointer(coord), queries, pointer(out), threads)
    return out


def resample_warped(
    library: ctypes.CDLL,
    kernel: str,
    table: Tensor,
    stretch: Tensor,
    radius: float,
    grid: WarpedGrid,
    output: Tensor,
) -> None:
    """Write `resample_points` at the pixels of a warped grid that lie inside the pictures into `output` (B, C, H, W)
    float32; the others stay as they are."""
    channels, pictures = _pictures(kernel, table, stretch, radius)
    _check(output, torch.float32, (len(table), channels, *grid.size))
    forms = forms_of(grid)
    call(
        library,
        "resample_warped",
        *pictures,
        pointer(forms),
        DOUBLE(SMALLEST_DEPTH),
        *map(LONG, grid.size),
        pointer(output),
        INT(torch.get_num_threads()),
    )


def _pictures(kernel: str, table: Tensor, stretch: Tensor, radius: float) -> tuple[int, list[ctypes._SimpleCData]]:
    """C, and the arguments that say what is resampled at positions."""
    batch, height, width, planes = table.shape
    channels = _channels(kernel, planes)
    one_stretch = stretch.shape[2:] == (1, 1)
    _check(table, torch.float32, table.shape)
    _check(stretch, torch.float32, (batch, 2, 1, 1) if one_stretch else (batch, 2, height, width))
    sizes = map(LONG, (batch, height, width, channels))
    lengths = map(FLOAT, (radius, tap_epsilon(height), tap_epsilon(width)))
    return channels, [INT(kernel == "gauss"), pointer(table), *sizes, pointer(stretch), INT(one_stretch), *lengths]


def _channels(kernel: str, planes: int) -> int:
    """C of (1 + K) * C planes."""
    channels, rest = divmod(planes, 1 + HYPER_PARAMETERS[kernel])
    if rest:
        raise ValueError(f"{planes} planes are no channels with hyper-parameters for a {kernel} kernel")
    return channels


def _check(tensor: Tensor, dtype: torch.dtype, shape: Sequence[int | None]) -> None:
    """ValueError unless the tensor is on the CPU, contiguous, and of that type and shape; None stands for any size."""
    sizes = [size if expected is None else expected for size, expected in zip(tensor.shape, shape, strict=False)]
    if tensor.dtype != dtype or len(shape) != tensor.dim() or list(tensor.shape) != sizes:
        raise ValueError(f"{tensor.dtype} of shape {tuple(tensor.shape)}; expected {dtype} of shape {tuple(shape)}")
    if not tensor.is_contiguous() or tensor.device.type != "cpu":
        raise ValueError("a tensor is not contiguous on the CPU")
