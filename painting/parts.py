"""Parts of outputs: crops, of which only the LR pixels that they are made of are encoded, and large pictures in strips,
some rows after the other, with only what they are made of in memory."""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from models.safeguards import reduces_nowhere
from models.upscaler import MARGIN, Upscaler
from painting.layers import alpha_upscaler, paint
from pictures.picture import Picture
from pictures.tensors import Layers
from utils import progress
from utils.errors import InputError
from utils.geometry.grids import Grid, OutputGrid, Size
from utils.geometry.neighbours import PixelWindow
from utils.geometry.sizes import is_enlarged
from utils.system import amount

OUTPUT_PIXEL = 60  # bytes, about


def pixels_for(upscaler: Upscaler, grid: OutputGrid, input_size: Size) -> PixelWindow | None:
    """The LR pixels of an (h, w) picture from which the positions of a grid, of a window of an output, are painted as
    from all of them; None where the picture has to be encoded whole, or all of it is needed anyway.

    Whole it has to be for models that do not say how far they look, where an output is reduced, and on warps for models
    that do not paint parts there.
    """
    context = upscaler.context
    if context is None:
        return None
    if isinstance(grid, Grid):
        possible = is_enlarged(input_size, grid.full_size)
    else:
        possible = upscaler.model.warps_parts and reduces_nowhere(grid, input_size)
    if not possible:
        return None
    painted = PixelWindow.around(input_size, grid.pixels(input_size), MARGIN)
    encoded = painted.grown(context)
    return None if encoded == PixelWindow.whole(input_size) else encoded


def can_strip(upscaler: Upscaler, picture: Picture, size: Size) -> bool:
    """Whether the picture at `size` can be painted in strips: by models that say how far they look, when it is
    enlarged, and where no pixel is all transparent, below which colours continue from all over the picture."""
    continued = picture.pixel_format.has_alpha and not picture.pixels[:, :, -1].all()
    return is_enlarged(picture.size, size) and upscaler.context is not None and not continued


def block_size(upscaler: Upscaler, input_size: Size, window: Size, size: Size, memory: int) -> Size:
    """(rows, columns) of output pixels to paint at a time, of a window (H, W) of an output of `size`, so that they and
    the rows of all columns need at most so many bytes: of those that fit, what encodes fewest LR pixels. InputError
    when nothing fits."""
    with upscaler.computing():
        per_input = upscaler.model.pixel_bytes
    around = 2 * (upscaler.context + MARGIN) + 1
    lr_per_row, lr_per_column = (n / m for n, m in zip(input_size, size, strict=True))
    needed, blocks = [], []
    for count in range(1, max(1, int(window[1] * lr_per_column / around)) + 1):
        columns = math.ceil(window[1] / count)
        lr_columns = min(columns * lr_per_column + around, input_size[1])
        fixed = around * lr_columns * per_input
        per_row = lr_per_row * lr_columns * per_input + window[1] * OUTPUT_PIXEL
        needed.append(fixed + per_row)
        rows = min(int((memory - fixed) / per_row), window[0])
        if rows >= 1:
            encoded = (lr_per_row + around / rows) * lr_columns * count  # LR pixels for each row of the output
            blocks.append((encoded, (rows, columns)))
    if not blocks:
        raise InputError(
            f"a strip of an output of {window[1]}x{window[0]} needs about {amount(min(needed))} of memory, "
            f"{amount(memory)} may be used; give more by --memory, or ask for a smaller size"
        )
    return min(blocks)[1]


def strips(
    upscaler: Upscaler, picture: Picture, size: Size, window: tuple[int, int, Size], block: Size
) -> Iterator[Layers]:
    """The `window` (top, left, its size) of the picture at `size` in strips of the rows of a `block`, each painted in
    such blocks: what `painting.layers.paint` draws on the whole grid."""
    around = upscaler.context + MARGIN
    if picture.pixel_format.has_alpha:
        around = max(around, alpha_upscaler(upscaler).context + MARGIN)
    whole, (height, width), (rows, columns) = Grid.of_size(size).window(*window), window[2], block

    def painted(grid: Grid) -> Layers:
        pixels = PixelWindow.around(picture.size, grid.pixels(picture.size), around)

        def draw(upscaler: Upscaler, lr: torch.Tensor) -> torch.Tensor:
            return upscaler.render(upscaler.encode_part(lr[None], pixels), grid)[0].cpu()

        layers = Layers.of(replace(picture, pixels=picture.pixels[pixels.rows, pixels.columns]))
        with progress.inner():
            return paint(upscaler, layers, draw)

    for start in range(0, height, rows):
        strip = whole.window(start, 0, (min(rows, height - start), width))
        lefts = range(0, width, columns)
        # Without a name for the blocks, which would keep them while the strip is written
        yield Layers.joined(
            [painted(strip.window(0, left, (strip.size[0], min(columns, width - left)))) for left in lefts], dim=2
        )
        progress.advance(strip.size[0])
