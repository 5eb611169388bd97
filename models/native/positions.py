"""Positions of warps on the CPU (positions.cpp): the arithmetic of `utils.homographies.Homography.bands` in one
pass."""

import ctypes

import torch
from torch import Tensor


def warped_positions(
    library: ctypes.CDLL, forms: Tensor, rows: range, columns: int, smallest: float
) -> tuple[Tensor, Tensor]:
    """For all pixels of some `rows` of an output: where they are, (2, rows, columns) float32, clipped to -1..1, and
    which of them lie inside that, in front of the horizon, (rows, columns) bool.

    `forms` (3, 3) float64: y and x times depth, and depth, each the factors of an output column and row and a constant;
    computed in float64. In front is where depth is above `smallest`.
    """
    if forms.shape != (3, 3) or forms.dtype != torch.float64 or forms.device.type != "cpu" or rows.step != 1:
        raise ValueError(f"{forms.dtype} of shape {tuple(forms.shape)}; expected torch.float64 of shape (3, 3)")
    forms = forms.contiguous()
    coord = torch.empty(2, len(rows), columns)
    inside = torch.empty(len(rows), columns, dtype=torch.bool)
    library.warped_positions(
        ctypes.c_void_p(forms.data_ptr()),
        *map(ctypes.c_int64, (rows.start, len(rows), columns)),
        ctypes.c_double(smallest),
        ctypes.c_void_p(coord.data_ptr()),
        ctypes.c_void_p(inside.data_ptr()),
        ctypes.c_int32(torch.get_num_threads()),
    )
    return coord, inside
