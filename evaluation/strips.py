"""Large pictures in strips: some rows of the output after the other, with only what they are made of in memory."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from models.painting import alpha_upscaler, paint
from models.upscaler import MARGIN, Upscaler
from utils import progress
from utils.errors import InputError
from utils.geometry.grids import Grid, Size
from utils.geometry.neighbours import PixelWindow
from utils.geometry.scales import is_enlarged
from utils.memory import amount
from utils.pictures.picture import Picture
from utils.pictures.tensors import Layers

# Bytes, about, of an LR pixel that is encoded by a network, and by others, and of an output pixel
NETWORK_PIXEL, OTHER_PIXEL, OUTPUT_PIXEL = 1000, 150, 60


def can_strip(upscaler: Upscaler, picture: Picture, size: Size) -> bool:
    """Whether the picture at `size` can be painted in strips: by models that say how far they look, when it is
    enlarged, and where no pixel is all transparent, below which colours continue from all over the picture."""
    continued = picture.kind.has_alpha and not picture.pixels[:, :, -1].all()
    return is_enlarged(picture.size, size) and upscaler.context is not None and not continued


def strip_rows(upscaler: Upscaler, input_size: Size, window: Size, size: Size, memory: int) -> int:
    """How many rows of a window (H, W) of an output of `size` fit into so many bytes with what they are made of;
    InputError when not one does."""
    per_input = input_size[1] * (NETWORK_PIXEL if upscaler.model.encodes else OTHER_PIXEL)
    around = 2 * (upscaler.context + MARGIN) + 1
    per_output = window[1] * OUTPUT_PIXEL + per_input * input_size[0] / size[0]
    rows = int((memory - around * per_input) / per_output)
    if rows < 1:
        needed = around * per_input + per_output
        raise InputError(
            f"a strip of an output of {window[1]}x{window[0]} needs about {amount(needed)} of memory, "
            f"{amount(memory)} may be used; give more by --memory, or ask for a smaller size"
        )
    return min(rows, window[0])


def strips(
    upscaler: Upscaler, picture: Picture, size: Size, window: tuple[int, int, Size], rows: int
) -> Iterator[Layers]:
    """The `window` (top, left, its size) of the picture at `size`, so many rows at a time; what `models.painting.paint`
    draws on the whole grid."""
    top, left, (height, width) = window
    around = upscaler.context + MARGIN
    if picture.kind.has_alpha:
        around = max(around, alpha_upscaler(upscaler).context + MARGIN)
    grid = Grid.of_size(size)
    for start in range(top, top + height, rows):
        part = grid.window(start, left, (min(rows, top + height - start), width))
        pixels = PixelWindow.around(picture.size, part.pixels(picture.size), around)

        def draw(upscaler: Upscaler, lr: torch.Tensor, pixels=pixels, part=part) -> torch.Tensor:
            return upscaler.render(upscaler.encode_part(lr[None], pixels), part)[0].cpu()

        layers = Layers.of(replace(picture, pixels=picture.pixels[pixels.rows, pixels.columns]))
        with progress.inner():
            painted = paint(upscaler, layers, draw)
        progress.advance(part.size[0])
        yield painted
