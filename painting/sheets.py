"""Sheets of crops: input, bicubic, a model's result and its difference to bicubic, side by side."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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
    down, across, found = lr.shape[0] / size[0], lr.shape[1] / size[1], []
    for y in range(0, size[0] - height + 1, height):
        for x in range(0, size[1] - width + 1, width):
            top, bottom = int(y * down), max(int(y * down) + 1, round((y + height) * down))
            left, right = int(x * across), max(int(x * across) + 1, round((x + width) * across))
            found.append((change[top:bottom, left:right].mean(), (x, y, width, height)))
    return [crop for _, crop in sorted(found, key=lambda entry: -entry[0])[:CROPS]]


def comparison_sheet(lr: np.ndarray, result: np.ndarray, name: str, crops: Sequence[Crop] = ()) -> np.ndarray:
    """(h, w, 3) and (H, W, 3) uint8 RGB of a picture and of what the model called `name` made of it -> a labelled sheet
    (.., .., 3) uint8: for each crop, the most textured ones without `crops`, the input, bicubic, the model, and where
    the model differs from bicubic, GAIN times."""
    crops = crops or textured_crops(lr, result.shape[:2])
    rows = [_tiles(Image.fromarray(lr), result, crop) for crop in crops]
    labels = "input", "bicubic", name, f"difference to bicubic, x{GAIN}"
    pitch = max(row[0].width for row in rows) + GAP
    height = LABEL + sum(row[0].height + LABEL for row in rows) + GAP
    sheet = Image.new("RGB", (GAP + len(labels) * pitch, height), "white")
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(15), LABEL
    for column, label in enumerate(labels):
        draw.text((GAP + column * pitch, GAP // 2), label, "black", font)
    for row, (x, y, width, height) in zip(rows, crops, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (GAP + column * pitch, top))
        top += row[0].height + LABEL
        draw.text((GAP, top - LABEL + GAP // 2), f"{width}x{height} from {x},{y}", "black", font)
    return np.array(sheet)


def _tiles(lr: Image.Image, result: np.ndarray, crop: Crop) -> list[Image.Image]:
    """Input, bicubic, result and difference of a crop, with their pixels enlarged up to TILE."""
    x, y, width, height = crop
    across, down = lr.width / result.shape[1], lr.height / result.shape[0]
    box = (x * across, y * down, (x + width) * across, (y + height) * down)
    kernels = Image.Resampling.NEAREST, Image.Resampling.BICUBIC
    nearest, bicubic = (lr.resize((width, height), kernel, box=box) for kernel in kernels)
    own = result[y : y + height, x : x + width]
    difference = (np.abs(own.astype(np.int16) - np.array(bicubic)) * GAIN).clip(0, 255).astype(np.uint8)
    factor = max(1, TILE // max(width, height))
    tiles = nearest, bicubic, Image.fromarray(own), Image.fromarray(difference)
    return [tile.resize((width * factor, height * factor), Image.Resampling.NEAREST) for tile in tiles]
