"""Writing pictures, all or nothing."""

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from utils.errors import InputError
from utils.files import atomic_file
from utils.pictures import deep
from utils.pictures.colour import cmyk_image
from utils.pictures.formats import Format, check_writable, format_of
from utils.pictures.metadata import Metadata
from utils.pictures.picture import CHANNELS, Picture


def write_picture(path: str | Path, picture: Picture | np.ndarray) -> list[str]:
    """Write a picture, or (H, W, 3) or (H, W) uint8, in the format of the file's ending, which has to hold its kind,
    all or nothing; makes the folder. Returns what of the metadata could not be written, in words.

    Exact but for JPEG, which is written at quality 95 with colours at full resolution. A link is followed. InputError
    as `check_writable`, and when the format cannot hold the picture.
    """
    path = check_writable(path)
    with atomic_file(os.path.realpath(path)) as temporary, open(temporary, "w+b") as stream:
        return encode(stream, path, format_of(path), picture)


def encode(stream: BinaryIO, path: str | Path, form: Format, picture: Picture | np.ndarray) -> list[str]:
    """Write to an empty stream, that can go back, what `write_picture` writes to `path`; returns what it returns."""
    if isinstance(picture, np.ndarray):
        pixels = picture.reshape(*picture.shape[:2], -1)
        picture = Picture(pixels, CHANNELS[pixels.shape[2]])
    try:
        try:
            _save(stream, picture, form)
        except Exception as error:  # Pillow's writers raise anything at all for metadata that they cannot write
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
    if picture.kind.depth == 32:
        low, high = picture.span
        count = len(picture.kind.colours)
        pixels = np.dstack([pixels[:, :, :count] * np.float32(high - low) + np.float32(low), pixels[:, :, count:]])
    if picture.kind.depth > 8 and form.name == "TIFF":
        deep.write_tiff(stream, pixels, picture.channels, options["tiffinfo"])
    elif picture.kind.depth > 8 and pixels.shape[2] > 1:
        deep.write_png(stream, pixels, picture.channels, options)
    else:
        grey = pixels.shape[2] == 1
        image = (
            cmyk_image(pixels) if picture.channels == "CMYK" else Image.fromarray(pixels[:, :, 0] if grey else pixels)
        )
        # OpenJPEG itself never comes to an end when the disk is full
        content = io.BytesIO() if form.name == "JPEG2000" else stream
        image.save(content, form.name, **options)
        if content is not stream:
            stream.write(content.getbuffer())
