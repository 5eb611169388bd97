"""From bytes that anyone may have sent to a picture."""

import io
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
from PIL import Image

from pictures.colour import in_rgb
from pictures.deep import is_tiff
from pictures.picture import Picture, levels
from pictures.reading import read_picture
from pictures.tensors import resize_bicubic
from utils.errors import InputError, one_line
from web.errors import Refused
from web.settings import Settings

# What browsers' users have. Pillow knows more, seldom used parsers, which need not meet strangers' files.
ACCEPTED = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
LONGEST_NAME = 80
SMALLEST_SIDE, LONGEST_SIDE = 2, 1 << 14
MOST_SHRUNK = 8  # times as many pixels as a picture may have, may what is shrunk have


@dataclass(frozen=True)
class Upload:
    """A `picture` in RGB or grey, with alpha or without, and the name of its file; `reference` where it was shrunk or
    one was chosen, for the time that `turn` says."""

    name: str
    picture: Picture
    reference: Picture | None = None
    turn: int = 0


def check_length(length: int, settings: Settings) -> None:
    """Refused for a file of more bytes than are taken."""
    if length > settings.file_bytes:
        raise Refused(f"the file is larger than {settings.file_bytes / 2**20:.0f} MiB; send a smaller one", 413)


def safe_name(name: str) -> str:
    """What of a file's name is kept: no folder, letters, digits and `._- ` only."""
    name = PurePosixPath(PureWindowsPath(name).name).name
    name = re.sub(r"[^\w.\- ]", "_", name).strip(" .").lstrip("-")
    stem, dot, ending = name.rpartition(".")
    return (f"{stem[: LONGEST_NAME - 8]}{dot}{ending[:8]}" if dot else name[:LONGEST_NAME]) or "picture"


def open_upload(content: bytes, name: str, settings: Settings, shrink: int = 1) -> Upload:
    """Decode a file, all or nothing; with `shrink`, as its own reduction with the whole as `reference`.

    The header is looked at before any pixel is decoded. Refused (413, 415 or 422) for what is no picture, damaged, or
    too large.
    """
    name = safe_name(name)
    check_length(len(content), settings)
    if not content:
        raise Refused(f"{name} is empty; choose a picture", 422)
    remedy = f", or choose to shrink it first ({MOST_SHRUNK} times as many)" if shrink == 1 else ""
    _check_header(content, name, settings.pixels * min(shrink**2, MOST_SHRUNK), remedy)
    try:
        picture = read_picture(content)
    except InputError as error:
        raise Refused(one_line(f"{name}: {str(error).removeprefix('- ')}"), 422) from None
    if min(picture.size) < SMALLEST_SIDE:
        raise Refused(f"{name}: a side of 1 pixel is too small; send a picture of at least 2x2", 422)
    if picture.channels == "CMYK":
        picture = replace(in_rgb(picture), losses=(*picture.losses, "CMYK converted to RGB"))
    if shrink == 1:
        return Upload(name, picture)
    return shrunk(name, picture, shrink)


def shrunk(name: str, picture: Picture, shrink: int) -> Upload:
    """A picture reduced by `shrink`, by antialiased bicubic as for training, and itself, cut to a multiple of that, as
    its reference: both 8-bit RGB."""
    if min(picture.size) < 16 * shrink:
        raise Refused(f"{name} is too small to be shrunk by {shrink}: less than 16 pixels would remain of a side", 422)
    height, width = (n // shrink * shrink for n in picture.size)
    colours = colours_of(picture)[:height, :width]
    small = resize_bicubic(colours, (height // shrink, width // shrink))
    return Upload(f"{name.rpartition('.')[0] or name}_x1-{shrink}.png", Picture(small, "RGB"), Picture(colours, "RGB"))


def colours_of(picture: Picture) -> np.ndarray:
    """(h, w, 3) uint8 RGB without transparency: what is measured."""
    pixels = levels(picture.pixels, 8)
    return pixels[:, :, :1].repeat(3, axis=2) if pixels.shape[2] < 3 else np.ascontiguousarray(pixels[:, :, :3])


def _check_header(content: bytes, name: str, most_pixels: int, remedy: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=ACCEPTED) as file:
                width, height = file.size
    except Image.DecompressionBombError:
        raise Refused(f"{name} has more than {most_pixels / 1e6:g} megapixels; send a smaller picture", 413) from None
    except Exception:  # Pillow's parsers raise anything at all
        known = "TIFF of a kind that is taken here" if is_tiff(io.BytesIO(content)) else "file of a picture"
        raise Refused(
            f"{name} is no {known}, or broken; send PNG, JPEG, WebP, TIFF, BMP, GIF, PPM or JPEG 2000",
            415,
        ) from None
    if width * height > most_pixels or max(width, height) > LONGEST_SIDE:
        raise Refused(
            f"{name} has {width}x{height} pixels; at most {most_pixels / 1e6:g} megapixels and sides of {LONGEST_SIDE} "
            f"are taken (--max-megapixels): send a smaller picture{remedy}",
            413,
        )
