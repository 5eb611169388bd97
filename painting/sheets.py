"""Sheets of crops that show what models have made of pictures, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pictures.captions import fitting
from utils.geometry.grids import Size

Crop = tuple[int, int, int, int]  # x, y, width, height in output pixels

CROP = 128  # sides of crops that are chosen
CROPS = 3
TILE = 320  # sides of what is shown of a crop, at most
GAP = 8
LABEL = 28
GAIN = 4  # how much larger differences are shown


def textured_crops(lr: np.ndarray, size: Size) -> list[Crop]:
    """The crops of an (H, W) output, as many as fit up to CROPS, whose input (h, w, 3) changes most from pixel to
    pixel."""
    height, width = (min(CROP, side) for side in size)
    grey = lr.astype(np.float32).mean(axis=2)
    change = np.abs(np.diff(grey, axis=0, append=grey[-1:])) + np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    scales = [n / side for n, side in zip(lr.shape, size, strict=False)]
    found = []
    for y in range(0, size[0] - height + 1, height):
        for x in range(0, size[1] - width + 1, width):
            rows, columns = (
                slice(int(start * scale), max(int(start * scale) + 1, round((start + side) * scale)))
                for start, side, scale in zip((y, x), (height, width), scales, strict=True)
            )
            found.append((change[rows, columns].mean(), (x, y, width, height)))
    return [crop for _, crop in sorted(found, key=lambda entry: -entry[0])[:CROPS]]


def comparison_sheet(lr: np.ndarray, result: np.ndarray, name: str, crops: Sequence[Crop] = ()) -> np.ndarray:
    """(h, w, 3) and (H, W, 3) uint8 RGB of a picture and of what the model called `name` made of it -> a labelled sheet
    (.., .., 3) uint8: for each crop, the most textured ones without `crops`, the input, bicubic, the model, and where
    the model differs from bicubic, GAIN times."""
    crops = crops or textured_crops(lr, result.shape[:2])
    rows = [Row(_tiles(Image.fromarray(lr), result, crop), (crop_text(crop),)) for crop in crops]
    return labelled_sheet(("input", "bicubic", name, f"difference to bicubic, x{GAIN}"), rows)


@dataclass(frozen=True)
class Row:
    """Pictures side by side, with words below the first ones."""

    tiles: Sequence[Image.Image]
    captions: Sequence[str] = ()


def labelled_sheet(labels: Sequence[str], rows: Sequence[Row]) -> np.ndarray:
    """Rows of pictures, below the labels of the columns, on one white sheet (.., .., 3) uint8."""
    pitch = max(tile.width for row in rows for tile in row.tiles) + GAP
    heights = [max(tile.height for tile in row.tiles) for row in rows]
    sheet = Image.new("RGB", (GAP + len(labels) * pitch, LABEL + sum(heights) + LABEL * len(rows) + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for column, label in enumerate(labels):
        draw.text((GAP + column * pitch, GAP // 2), label, "black", font)
    top = LABEL
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row.tiles):
            sheet.paste(tile, (GAP + column * pitch, top))
        for column, caption in enumerate(row.captions):
            place = GAP + column * pitch, top + height + GAP // 2
            draw.text(place, fitting(caption, font, pitch - GAP), "black", font)
        top += height + LABEL
    return np.array(sheet)


def crop_text(crop: Crop) -> str:
    """Such as 128x96 from 10,20."""
    x, y, width, height = crop
    return f"{width}x{height} from {x},{y}"


def enlarged(tiles: Sequence[Image.Image]) -> list[Image.Image]:
    """Pictures of one size with their pixels enlarged, up to TILE."""
    width, height = tiles[0].size
    factor = max(1, TILE // max(width, height))
    return [tile.resize((width * factor, height * factor), Image.Resampling.NEAREST) for tile in tiles]


def input_of(lr: Image.Image, size: Size, crop: Crop, kernel: Image.Resampling) -> Image.Image:
    """A crop of an output of `size` (H, W) as a filter makes it of the input."""
    x, y, width, height = crop
    across, down = lr.width / size[1], lr.height / size[0]
    box = (x * across, y * down, (x + width) * across, (y + height) * down)
    return lr.resize((width, height), kernel, box=box)


def _tiles(lr: Image.Image, result: np.ndarray, crop: Crop) -> list[Image.Image]:
    """Input, bicubic, result and difference of a crop, enlarged to the same size."""
    x, y, width, height = crop
    kernels = Image.Resampling.NEAREST, Image.Resampling.BICUBIC
    nearest, bicubic = (input_of(lr, result.shape[:2], crop, kernel) for kernel in kernels)
    own = result[y : y + height, x : x + width]
    difference = np.abs(own.astype(np.int16) - np.array(bicubic)) * GAIN
    difference = Image.fromarray(difference.clip(0, 255).astype(np.uint8))
    return enlarged([nearest, bicubic, Image.fromarray(own), difference])
