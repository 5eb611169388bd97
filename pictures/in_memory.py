"""Pictures that other people's code holds, Pillow's and arrays, as `Picture`, and back as what they were."""

from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from pictures.colour import image_of
from pictures.picture import CHANNELS, Picture
from pictures.reading import decoded
from utils.errors import InputError

RANGES = {np.dtype(np.uint8): "0..255", np.dtype(np.uint16): "0..65535"}
TOLERANCE = 1e-3  # floats that leave [0, 1] by less are clipped: other filters overshoot by so much


def picture_of(given: Image.Image | np.ndarray) -> Picture:
    """The picture in Pillow's image, turned upright as its EXIF says, or in an array (H, W) or (H, W, C) of one to four
    channels (grey, with alpha, RGB, with alpha), uint8, uint16, or floats in [0, 1].

    InputError for other arrays and for values that are no picture's.
    """
    if isinstance(given, Image.Image):
        return decoded(ImageOps.exif_transpose(given), b"", "the picture")
    return _of_array(given)


def as_given(made: Picture, given: Image.Image | np.ndarray) -> Any:
    """What was `made` of `given`, as that was: Pillow's image in its mode, palettes as what they hold, 1 bit as grey,
    with its colour profile; an array of its type and number of axes."""
    if isinstance(given, np.ndarray):
        return made.pixels.reshape(*made.size, *given.shape[2:]).astype(given.dtype, copy=False)
    if made.pixel_format.depth == 32:
        low, high = made.span
        made = replace(made, pixels=made.pixels * np.float32(high - low) + np.float32(low))
    image = image_of(made)
    if given.mode == "I":
        image = image.convert("I")
    if profile := given.info.get("icc_profile"):
        image.info["icc_profile"] = profile
    return image


def _of_array(array: np.ndarray) -> Picture:
    pixels = array[:, :, None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in CHANNELS or 0 in pixels.shape:
        raise InputError(f"an array {array.shape} is not a picture; expected (H, W) or (H, W, C), C from 1 to 4")
    if array.dtype in RANGES:
        return Picture(np.ascontiguousarray(pixels), CHANNELS[pixels.shape[2]])
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"an array of {array.dtype} is not a picture; expected uint8, uint16 or floats in [0, 1]")
    check_unit(float(pixels.min()), float(pixels.max()))
    return Picture(np.ascontiguousarray(pixels, np.float32).clip(0, 1), CHANNELS[pixels.shape[2]])


def check_unit(low: float, high: float) -> None:
    """InputError unless floats from `low` to `high` lie in [0, 1]."""
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # NaN is nowhere
        raise InputError(f"floats from {low:g} to {high:g} are no picture; expected [0, 1]: divide by 255, or the like")
