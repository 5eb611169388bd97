"""What keeps pictures plausible where a network is asked for what it was not trained on.

Networks that were trained to enlarge alias where output pixels are larger than LR pixels: an antialiased cubic filter,
Pillow's bicubic, reduces the picture there. Grey pictures stay grey, and values stay near those of the LR pixels around
them: photographs do not notice (Set5 and the samples lose at most 0.001 dB), patterns that no photograph has do."""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.continuous import Latent
from models.resampling.filters import Bilinear, CatmullRom
from utils.geometry.grids import Grid, OutputGrid, Size, pixel_index, sample_nearest

# Output pixels up to this many LR pixels large are the model's alone; from TRANSITION times that they are the filter's.
LARGEST_PIXEL = 1.001
TRANSITION = 1.25

GREY = 1e-4  # largest difference between the channels of a grey picture

# Values may leave the range of the 5x5 LR pixels around them by that range and this much more.
NEIGHBOURHOOD = 5
OVERSHOOT = 0.02
QUERIES = 1 << 16  # positions limited together: what they are compared with fits the cache


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


def keep_grey(painted: Tensor, picture: Tensor) -> None:
    """Make grey, in place, what was `painted` (B, C, H, W) of grey pictures (B, C, h, w), both in [0, 1]."""
    for output, encoded in zip(painted, picture, strict=True):
        if len(encoded) > 1 and (encoded - encoded[0]).abs().max() < GREY:
            output[:] = output.mean(0)


def limit_overshoot(painted: Tensor, picture: Tensor, grid: OutputGrid) -> None:
    """Clip, in place, what was `painted` (B, C, H, W) of pictures (B, C, h, w), both in [0, 1], on a grid to what the
    LR pixels around each position support."""
    padded = F.pad(picture, (NEIGHBOURHOOD // 2,) * 4, mode="replicate")
    highest, lowest = F.max_pool2d(padded, NEIGHBOURHOOD, 1), -F.max_pool2d(-padded, NEIGHBOURHOOD, 1)
    margin = highest - lowest + OVERSHOOT
    bounds = torch.cat([lowest - margin, highest + margin], dim=1)  # (B, 2C, h, w)
    if isinstance(grid, Grid):
        columns = pixel_index(grid.columns, picture.shape[3])
        for rows, chunk in grid.row_chunks(QUERIES):
            of_rows = bounds[:, :, pixel_index(chunk.rows, picture.shape[2])]
            torch.clamp(painted[:, :, rows], *of_rows[:, :, :, columns].chunk(2, dim=1), out=painted[:, :, rows])
        return
    bounds = bounds.permute(0, 2, 3, 1).contiguous()
    for place, coord in grid.chunks(QUERIES):
        positions = coord.to(bounds.device).flatten(0, -2).expand(len(bounds), -1, -1)
        smallest, largest = sample_nearest(bounds, positions).transpose(1, 2).unflatten(2, coord.shape[:-1]).chunk(2, 1)
        painted[place] = painted[place].clamp(smallest, largest)
