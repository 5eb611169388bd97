"""Writing pictures, all or nothing; those of BANDED formats also as their rows are made."""

import io
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from pictures import deep, exr, png
from pictures.animations import encode_animation
from pictures.colour import cmyk_image, palette_image
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

    @classmethod
    def of(cls, picture: Picture) -> "BandedPicture":
        return cls(picture.size, picture.pixel_format, [picture.pixels], picture.metadata, picture.span)


def write_picture(
    path: str | Path,
    picture: Picture | BandedPicture | Animation | np.ndarray,
    compression: int | None = None,
    form: Format | None = None,
) -> list[str]:
    """Write a picture, or (H, W, 3) or (H, W) uint8, in the format of the file's ending unless another is given,
    which has to hold its kind, all or nothing; makes the folder. Returns what of the metadata could not be written, in
    words.

    Exact but for JPEG, which is written at quality 95 with colours at full resolution. `compression` is that of PNG,
    0 to 9, COMPRESSION unless given. A link is followed. InputError as `check_writable`, and when the format cannot
    hold the picture.
    """
    path = check_writable(path)
    with atomic_file(os.path.realpath(path)) as temporary, open(temporary, "w+b") as stream:
        return encode(stream, path, form or format_of(path), picture, compression)


def encode(
    stream: BinaryIO,
    path: str | Path,
    form: Format,
    picture: Picture | BandedPicture | Animation | np.ndarray,
    compression: int | None = None,
) -> list[str]:
    """Write to an empty stream, that can go back, what `write_picture` writes to `path`; returns what it returns."""
    if isinstance(picture, Animation):
        level = png.COMPRESSION if compression is None else compression
        return encode_animation(stream, path, form, picture, level)
    if isinstance(picture, np.ndarray):
        pixels = levels(picture.reshape(*picture.shape[:2], -1), min(form.channels))
        picture = Picture(pixels, CHANNELS[pixels.shape[2]])
    banded = BandedPicture.of(picture) if isinstance(picture, Picture) else picture
    try:
        try:
            write = _writer(banded, form, compression)
            lost = []
        except Exception as error:  # Pillow's writers raise anything at all for metadata that they cannot write
            if picture.metadata == Metadata():
                raise
            write = _writer(replace(banded, metadata=Metadata()), form, compression)
            lost = [f"all metadata ({error})"]
    except (OSError, ValueError, MemoryError) as error:
        raise InputError(f"cannot write {path}: {error or 'too large for this format'}") from None
    if write is not None:
        write(stream)
        return lost
    return _encode_whole(stream, path, form, picture)


def _writer(picture: BandedPicture, form: Format, compression: int | None) -> Callable[[BinaryIO], None] | None:
    """What writes the picture row by row, its metadata included; None where the format is written by Pillow."""
    size, kind, bands = picture.size, picture.pixel_format, picture.bands
    if form.name == "TIFF":
        head = deep.tiff_head(size, kind, picture.metadata.options("TIFF")["tiffinfo"])
        return partial(deep.write_tiff, head=head, bands=_spanned(bands, kind, picture.span))
    if form.name == "PNG":
        frame = png.png_frame(kind.channels, picture.metadata.options("PNG"))
        level = png.COMPRESSION if compression is None else compression
        return partial(png.write_png, frame=frame, size=size, kind=kind, bands=bands, compression=level)
    if form.name == "EXR":
        bands = _spanned(bands, kind, picture.span)
        return partial(exr.write, size=size, kind=kind, bands=bands, metadata=picture.metadata)
    if form.name == "PPM":
        return partial(deep.write_ppm, size=size, kind=kind, bands=bands)
    return None


def _spanned(bands: Iterable[np.ndarray], kind: PixelFormat, span: tuple[float, float]) -> Iterable[np.ndarray]:
    """Floats as what they stand for."""
    low, high, count = *span, len(kind.colours)
    for band in bands:
        if kind.depth == 32:
            band = np.dstack([band[:, :, :count] * np.float32(high - low) + np.float32(low), band[:, :, count:]])
        yield band


def _encode_whole(stream: BinaryIO, path: str | Path, form: Format, picture: Picture) -> list[str]:
    """By Pillow."""
    try:
        try:
            _save(stream, picture, form)
        except Exception as error:  # as above
            if picture.metadata == Metadata():
                raise
            stream.seek(0)
            stream.truncate()
            _save(stream, replace(picture, metadata=Metadata()), form)
            return [f"all metadata ({error})"]
    except (OSError, ValueError, MemoryError) as error:
        raise InputError(f"cannot write {path}: {error or 'too large for this format'}") from None
    return []


def _save(stream: BinaryIO, picture: Picture, form: Format) -> None:
    options: dict[str, Any] = {**form.options, **picture.metadata.options(form.name)}
    pixels = picture.pixels
    grey = pixels.shape[2] == 1
    image = cmyk_image(pixels) if picture.channels == "CMYK" else Image.fromarray(pixels[:, :, 0] if grey else pixels)
    if form.name == "GIF":
        image = palette_image(pixels)
    # OpenJPEG itself never comes to an end when the disk is full
    content = io.BytesIO() if form.name == "JPEG2000" else stream
    image.save(content, form.name, **options)
    if content is not stream:
        stream.write(content.getbuffer())
