"""Local texture as Fourier features (LTE): amplitudes and frequencies per LR pixel, phases from the cell."""

import math

import torch
from torch import Tensor


def fourier_table(coef: Tensor, freq: Tensor, phase: Tensor, interleaved: bool = True) -> Tensor:
    """Fourier amplitudes, frequencies and phases per LR pixel, joined to (B, h, w, 2.5 C) for `fourier_features`.

    `coef` (B, C, h, w) amplitudes; `freq` (B, C, h, w) frequencies, (y, x) pairs when `interleaved`, else all y and
    then all x; `phase` (B, C/2, h or 1, w or 1).
    """
    along_y, along_x = (freq[:, 0::2], freq[:, 1::2]) if interleaved else freq.chunk(2, dim=1)
    parts = coef, along_y, along_x, phase.expand(-1, -1, *coef.shape[-2:])
    return torch.cat([part.permute(0, 2, 3, 1) for part in parts], dim=-1)


def fourier_features(table: Tensor, offset_y: Tensor | float, offset_x: Tensor | float) -> Tensor:
    """Entries of a `fourier_table` (..., 2.5 C) at offsets in LR pixels: (..., C), amplitude times cosine and sine."""
    half = table.shape[-1] // 5
    coef, along_y, along_x, phase = table.split([2 * half, half, half, half], dim=-1)
    angle = math.pi * (along_y * offset_y + along_x * offset_x + phase)
    return coef * torch.cat([angle.cos(), angle.sin()], dim=-1)
