"""Reducing pictures: networks that were trained to enlarge alias where output pixels are larger than LR pixels.

An antialiased cubic filter, Pillow's bicubic, does that instead."""

import torch
from torch import Tensor

from models.continuous import Latent
from models.resampling.filters import Bilinear, CatmullRom
from utils.geometry.grids import OutputGrid, Size

# Output pixels up to this many LR pixels large are the model's alone; from TRANSITION times that they are the filter's.
LARGEST_PIXEL = 1.001
TRANSITION = 1.25


def reduced(picture: Tensor, grid: OutputGrid) -> Tensor:
    """`picture` (B, C, h, w) in [0, 1] on a grid, by the antialiased filter: (B, C, H, W), black outside."""
    return CatmullRom().render(Latent(picture, picture), grid).clamp_(0, 1)


def pixel_size(grid: OutputGrid, input_size: Size) -> Tensor:
    """Size of output pixels in LR pixels of an (h, w) picture, the larger of both axes, () or (h, w)."""
    cell = grid.cell(input_size, None)
    return torch.stack([axis * n / 2 for axis, n in zip(cell, input_size, strict=True)]).amax(0)


def filter_share(size: Tensor, grid: OutputGrid) -> Tensor:
    """How much the filter counts at each position, (1, 1, H, W) in [0, 1], for output pixels of `size` (h, w) LR
    pixels; continuous."""
    share = ((size / LARGEST_PIXEL - 1) / (TRANSITION - 1)).clamp(0, 1)[None, None]
    return Bilinear(antialias=False).render(Latent(share, share), grid)
