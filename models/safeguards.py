"""Safeguards where a network is asked for what it was not trained on.

Networks that were trained to enlarge alias where output pixels are larger than LR pixels: an antialiased cubic filter,
Pillow's bicubic, reduces the picture there. Grey pictures stay grey, and on plain grids values stay near those of the
LR pixels around them (Set5 and the samples lose at most 0.001 dB by it); of more than 8 bits, smooth gradients stay so.
"""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from models.continuous import Latent
from models.normalization import Affine
from models.resampling.filters import Bilinear, CatmullRom
from utils.geometry.grids import Grid, OutputGrid, Size, pixel_index
from utils.geometry.neighbours import PixelWindow

# Output pixels up to this many LR pixels large are the model's alone; from TRANSITION times that they are the filter's.
LARGEST_PIXEL = 1.001
TRANSITION = 1.25

GREY = 1e-4  # largest difference between the channels of a grey picture

# Values may leave the range of the 5x5 LR pixels around them by that range and this much more.
NEIGHBOURHOOD = 5
OVERSHOOT = 0.02
LR_ROWS = 32  # whose bounds are held at a time for all columns of the output

LEVEL = 1 / 255  # of the pictures that networks learn from


def reduced(picture: Tensor, grid: OutputGrid) -> Tensor:
    """`picture` (B, C, h, w) in [0, 1] on a grid, by the antialiased filter: (B, C, H, W), black outside."""
    return CatmullRom().render(Latent(picture, picture), grid).clamp_(0, 1)


def pixel_size(grid: OutputGrid, input_size: Size) -> Tensor:
    """Size of output pixels in LR pixels of an (h, w) picture, the larger of both axes, () or (h, w)."""
    cell = grid.cell(input_size, None)
    return torch.stack([axis * n / 2 for axis, n in zip(cell, input_size, strict=True)]).amax(0)


def reduces_nowhere(grid: OutputGrid, input_size: Size) -> bool:
    """Whether no output pixel is so large that the filter takes part."""
    return bool(pixel_size(grid, input_size).max() <= LARGEST_PIXEL)


def filter_share(size: Tensor, grid: OutputGrid) -> Tensor:
    """How much the filter counts at each position, (1, 1, H, W) in [0, 1], for output pixels of `size` (h, w) LR
    pixels; continuous."""
    share = ((size / LARGEST_PIXEL - 1) / (TRANSITION - 1)).clamp(0, 1)[None, None]
    return Bilinear(antialias=False).render(Latent(share, share), grid)


def near(latent: Latent, normalised: Affine, grid: OutputGrid) -> Latent:
    """The LR pixels, in [0, 1], that safeguards read for a grid: few for a window of a large picture."""
    held = window = latent.pixels
    if isinstance(grid, Grid):
        window = PixelWindow.around(held.size, grid.pixels(held.size), NEIGHBOURHOOD // 2 + 1).clipped(held)
    pixels = normalised.invert(window.within(held).of(latent.image))
    return Latent(pixels, pixels, window=window)


def keep_grey(painted: Tensor, encoded: Latent, grid: OutputGrid) -> None:
    """Make `painted` (B, C, H, W) in [0, 1] grey, in place, where the 5x5 LR pixels around each of the four around a
    position are; from there the colours of the model return within one LR pixel."""
    pixels, window = encoded.image, encoded.pixels
    grey = 1 - _highest(1 - ((pixels - pixels[:, :1]).abs().amax(1, keepdim=True) < GREY).to(pixels.dtype))
    if grey.is_cpu and not grey.any():  # asking a device means to wait for it
        return
    if isinstance(grid, Grid):
        latent = Latent(grey, grey, window=window)
    else:  # filters read the whole picture for a warp
        whole = grey.new_zeros(len(grey), 1, *window.size)
        window.of(whole)[:] = grey
        latent = Latent(whole, whole)
    share = Bilinear(antialias=False).render(latent, grid)
    painted.lerp_(painted.mean(1, keepdim=True), share.mul_(1 + 1e-6).clamp_(max=1))


def limit_overshoot(painted: Tensor, encoded: Latent, grid: Grid) -> None:
    """Clip `painted` (B, C, H, W) in [0, 1], in place, to the range of the LR pixels around each position, widened by
    that range and OVERSHOOT, in one pass over the output: bounds are looked up once per LR row."""
    pixels, window = encoded.image, encoded.pixels
    height, width = window.size
    columns = (pixel_index(grid.columns, width) - window.left).to(pixels.device)
    highest, negated = _highest(torch.cat([pixels, -pixels])).split(len(pixels))
    margin = highest + negated + OVERSHOOT
    lowest, highest = -negated - margin, highest + margin
    if not painted.is_cpu:
        rows = (pixel_index(grid.rows, height) - window.top).to(pixels.device)
        bounds = [extreme.index_select(2, rows).index_select(3, columns) for extreme in (lowest, highest)]
        torch.clamp(painted, *bounds, out=painted)
        return
    for chunk, part, place in grid.by_pixel_rows(height, LR_ROWS):
        first = max(chunk.start, window.top)
        inner = slice(first - window.top, chunk.stop - window.top)
        bounds = [extreme[:, :, inner].index_select(3, columns) for extreme in (lowest, highest)]
        owners, counts = (pixel_index(part.rows, height) - first).unique_consecutive(return_counts=True)
        for owner, output in zip(owners.tolist(), painted[place].split(counts.tolist(), dim=2), strict=True):
            smallest, largest = (bound[:, :, owner : owner + 1] for bound in bounds)
            torch.clamp(output, smallest, largest, out=output)


def smooth_gradients(painted: Tensor, encoded: Latent, grid: Grid) -> None:
    """Let `painted` (B, C, H, W) in [0, 1] be interpolation, in place, where it is within half a LEVEL of it, and the
    model's alone from three quarters on: less is the model's noise, by which a ramp of 16 bits falls. Samples of 16
    bits lose at most 0.01 dB by it."""
    for _, part, place in grid.by_pixel_rows(encoded.size[0], LR_ROWS):
        cubic = CatmullRom().render(encoded, part)
        share = 3 - 1.5 * LEVEL / (painted[place] - cubic).abs()
        painted[place] = cubic.lerp(painted[place], share.clamp_(0, 1))


def _highest(picture: Tensor) -> Tensor:
    """The highest value around each pixel of (B, C, h, w); max_pool2d, which also finds where it is, takes 20 times as
    long on a CPU."""
    highest = F.pad(picture, (NEIGHBOURHOOD // 2,) * 4, mode="replicate")
    for axis in (2, 3):
        count = highest.shape[axis] - NEIGHBOURHOOD + 1
        highest = reduce(torch.maximum, (highest.narrow(axis, first, count) for first in range(NEIGHBOURHOOD)))
    return highest
