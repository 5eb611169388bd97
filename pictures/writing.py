"""Writing pictures, all or nothing; those of BANDED formats also as their rows are made."""

import io
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pictures import deep, exr, png
from pictures.animations import save_animation
from pictures.colour import image_of, palette_image
from pictures.formats import Format, check_writable, format_of
from pictures.metadata import Metadata
from pictures.picture import CHANNELS, Animation, Picture, PixelFormat, levels
from utils.errors import InputError
from utils.files import atomic_file

BANDED = ("PNG", "TIFF", "PPM")  # formats whose rows are written as they are made


@dataclass(frozen=True)
class BandedPicture:
    """A picture of `size` (H, W) whose rows come one after the other, `bands` (rows, W, C); else as `Picture`."""

    size: tuple[int, int]
    pixel_format: PixelFormat
    bands: Iterable[np.ndarray]
    metadata: Metadata = field(default_factory=Metadata)
    span: tuple[float, float] = (0.0, 1.0)


def write_picture(
    path: str | Path,
    picture: Picture | BandedPicture | Animation | np.ndarray,
    compression: int | None = None,
    form: Format | None = None,
) -> list[str]:
    """Write a picture, or (H, W, 3) or (H, W) uint8, all or nothing, in a format that has to hold its kind, by default
    that of the file's ending; makes the folder and follows links.

    Exact but for JPEG and AVIF, of quality 95 with colours at full resolution. `compression` is that of PNG, 0 to 9.
    Returns the metadata that could not be written, in words. InputError as `check_writable`, and when the format cannot
    hold the picture.
    """
    path = check_writable(path)
    with atomic_file(os.path.realpath(path)) as temporary, open(temporary, "wb") as stream:
        return encode(stream, path, form or format_of(path), picture, compression)


def encode(
    stream: BinaryIO,
    path: str | Path,
    form: Format,
    picture: Picture | BandedPicture | Animation | np.ndarray,
    compression: int | None = None,
) -> list[str]:
    """Write to a stream what `write_picture` writes to `path`; returns what it returns."""
    if isinstance(picture, np.ndarray):
        pixels = levels(picture.reshape(*picture.shape[:2], -1), min(form.channels))
        picture = Picture(pixels, CHANNELS[pixels.shape[2]])
    level, lost = png.COMPRESSION if compression is None else compression, []
    try:
        try:
            write = _writer(picture, form, picture.metadata, level)
        except Exception as error:  # Pillow's writers raise anything at all for metadata that they cannot write
            if picture.metadata == Metadata():
                raise
            write, lost = _writer(picture, form, Metadata(), level), [f"all metadata ({error})"]
    except (OSError, ValueError, MemoryError, OverflowError, struct.error) as error:
        raise InputError(f"cannot write {path}: {error or 'too large for this format'}") from None
    write(stream)
    return lost


def _writer(
    picture: Picture | BandedPicture | Animation, form: Format, metadata: Metadata, compression: int
) -> Callable[[BinaryIO], Any]:
    """What writes the picture behind its metadata: row by row, or as Pillow has encoded it."""
    if isinstance(picture, Animation) or form.name not in BANDED:
        content = io.BytesIO()
        if isinstance(picture, Animation):
            save_animation(content, form, picture, metadata, compression)
        elif form.name == "EXR":
            exr.write(content, _spanned(picture.pixels, picture), picture.pixel_format, metadata)
        else:
            image = (palette_image if form.name == "GIF" else image_of)(picture)
            image.save(content, form.name, **form.options, **metadata.options(form.name))
        return lambda stream: stream.write(content.getbuffer())
    size, kind = picture.size, picture.pixel_format
    bands = [picture.pixels] if isinstance(picture, Picture) else picture.bands
    if form.name == "PNG":
        frame = png.png_frame(kind.channels, metadata.options("PNG"))
        return partial(png.write_png, frame=frame, size=size, kind=kind, bands=bands, compression=compression)
    if form.name == "TIFF":
        head = deep.tiff_head(size, kind, metadata.tiff_tags())
        return partial(deep.write_rows, head=head, bands=(_spanned(band, picture) for band in bands))
    return partial(deep.write_rows, head=deep.ppm_head(size, kind), bands=bands, order=">")


def _spanned(pixels: np.ndarray, picture: Picture | BandedPicture) -> np.ndarray:
    """Rows of a picture, floats as what they stand for."""
    if picture.span == (0, 1) or picture.pixel_format.depth < 32:
        return pixels
    (low, high), count = map(np.float32, picture.span), len(picture.pixel_format.colours)
    return np.dstack([pixels[:, :, :count] * (high - low) + low, pixels[:, :, count:]])
