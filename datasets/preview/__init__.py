"""What training items look like: pairs of LR and HR pictures on a sheet."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.implicit import ImplicitDataset
from pictures.captions import fitting
from utils.random_state import mixed, repeatable

SIDE = 192  # pixels of the square that a picture is shown in
GAP = 6
CAPTION = 16
PAPER, INK = (255, 255, 255), (0, 0, 0)


def spread(items: int, count: int) -> list[int]:
    """`count` items, or all, evenly over a data set: of every part of a mixture."""
    return sorted({round(index) for index in np.linspace(0, items - 1, min(items, count))})


def make_sheet(samples: ImplicitDataset, indices: Sequence[int], columns: int, seed: int) -> np.ndarray:
    """(H, W, 3) uint8: the LR picture, its pixels enlarged, beside the HR picture of each item as an epoch, the first,
    draws it, with their scale and the file below."""
    width, height = 2 * SIDE + 3 * GAP, SIDE + CAPTION + GAP
    sheet = Image.new("RGB", (min(columns, len(indices)) * width, -(-len(indices) // columns) * height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, index in enumerate(indices):
        left, top = number % columns * width + GAP, number // columns * height + GAP
        with repeatable(mixed(seed, 1, index)):
            lr, hr = samples.varied_pair(index)
        sheet.paste(shown(lr), (left, top))
        sheet.paste(shown(hr), (left + SIDE + GAP, top))
        caption = f"{lr.shape[1]}x{lr.shape[0]} -> {hr.shape[1]}x{hr.shape[0]}  {samples.path(index).name}"
        draw.text((left, top + SIDE + 1), fitting(caption, font, width - 2 * GAP), INK, font)
    return np.array(sheet)


def shown(pixels: np.ndarray) -> Image.Image:
    """A picture in the square of SIDE: small ones with their pixels enlarged, large ones reduced."""
    factor = SIDE / max(pixels.shape[:2])
    size = tuple(max(1, round(side * factor)) for side in (pixels.shape[1], pixels.shape[0]))
    kernel = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BICUBIC
    return Image.fromarray(np.ascontiguousarray(pixels)).resize(size, kernel)
