"""Positions of warps on the CPU (positions.cpp): the arithmetic of `WarpedGrid` in one pass."""

import ctypes

import torch
from torch import Tensor

from models.native.calls import DOUBLE, INT, LONG, call, pointer
from utils.geometry.homographies import SMALLEST_DEPTH, WarpedGrid


def forms_of(grid: WarpedGrid) -> Tensor:
    """What the kernels read of a grid, (3, 3) contiguous; ValueError for another type or place than it promises."""
    forms = grid.forms
    if forms.shape != (3, 3) or forms.dtype != torch.float64 or forms.device.type != "cpu":
        raise ValueError(f"{forms.dtype} of shape {tuple(forms.shape)}; expected torch.float64 of shape (3, 3)")
    return forms.contiguous()


def warped_positions(library: ctypes.CDLL, grid: WarpedGrid, rows: range) -> tuple[Tensor, Tensor]:
    """`grid.positions(rows)`, computed in float64 and rounded to float32; ValueError unless `rows` has step 1."""
    if rows.step != 1:
        raise ValueError(f"{rows} are not all rows between two")
    forms, columns = forms_of(grid), grid.size[1]
    coord = torch.empty(2, len(rows), columns, dtype=torch.float32, device="cpu")
    inside = torch.empty(len(rows), columns, dtype=torch.bool, device="cpu")
    sizes = map(LONG, (rows.start, len(rows), columns))
    outputs = map(pointer, (coord, inside))
    threads = INT(torch.get_num_threads())
    call(library, "warped_positions", pointer(forms), DOUBLE(SMALLEST_DEPTH), *sizes, *outputs, threads)
    return coord, inside
