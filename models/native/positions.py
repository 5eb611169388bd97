"""Positions of warps on the CPU (positions.cpp): the arithmetic of `utils.homographies.WarpedGrid` in one pass."""

import ctypes

import torch
from torch import Tensor

from utils.homographies import SMALLEST_DEPTH, WarpedGrid


def forms_of(grid: WarpedGrid) -> Tensor:
    """What the kernels read of a grid; ValueError for other types or places than it promises."""
    forms = grid.forms
    if forms.shape != (3, 3) or forms.dtype != torch.float64 or forms.device.type != "cpu":
        raise ValueError(f"{forms.dtype} of shape {tuple(forms.shape)}; expected torch.float64 of shape (3, 3)")
    return forms.contiguous()


def warped_positions(library: ctypes.CDLL, grid: WarpedGrid, rows: range) -> tuple[Tensor, Tensor]:
    """`grid.positions(rows)`, computed in float64 and rounded to float32."""
    if rows.step != 1:
        raise ValueError(f"{rows} are not all rows between two")
    forms, columns = forms_of(grid), grid.size[1]
    coord = torch.empty(2, len(rows), columns)
    inside = torch.empty(len(rows), columns, dtype=torch.bool)
    library.warped_positions(
        ctypes.c_void_p(forms.data_ptr()),
        ctypes.c_double(SMALLEST_DEPTH),
        *map(ctypes.c_int64, (rows.start, len(rows), columns)),
        ctypes.c_void_p(coord.data_ptr()),
        ctypes.c_void_p(inside.data_ptr()),
        ctypes.c_int32(torch.get_num_threads()),
    )
    return coord, inside
