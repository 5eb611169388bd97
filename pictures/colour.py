"""Colours by name, and those of print and of measuring as RGB."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image, ImageCms, ImageColor

from pictures.picture import Picture, levels
from utils.errors import InputError


def parse_colour(colour: str) -> tuple[int, int, int] | None:
    """(red, green, blue) of a CSS name or `#rrggbb`, None for `transparent`; InputError for anything else."""
    if colour == "transparent":
        return None
    try:
        channels = ImageColor.getcolor(colour, "RGB")
    except ValueError:
        channels = (-1,)
    if not all(0 <= channel <= 255 for channel in channels):
        raise InputError(f"unknown colour '{colour}'; give transparent, a name such as black, or #rrggbb")
    return channels


def srgb_of(picture: Image.Image, icc: bytes | None) -> Image.Image:
    """A CMYK or LAB picture as sRGB, by its profile `icc`; CMYK without a (sound) one by Pillow's plain formula."""
    target = ImageCms.createProfile("sRGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc)) if icc else None
        if source or picture.mode == "LAB":
            return ImageCms.profileToProfile(
                picture,
                source or ImageCms.createProfile("LAB"),
                target,
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                "RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
    except (OSError, ImageCms.PyCMSError):  # a broken profile, or one of other channels
        if picture.mode == "LAB":
            return srgb_of(picture, None)
    return picture.convert("RGB")


def in_rgb(picture: Picture) -> Picture:
    """A CMYK picture as 8-bit sRGB."""
    image = srgb_of(cmyk_image(levels(picture.pixels, 8)), picture.metadata.icc)
    return replace(picture, pixels=np.array(image), channels="RGB", metadata=replace(picture.metadata, icc=None))


def cmyk_image(pixels: np.ndarray) -> Image.Image:
    """(h, w, 4) uint8 amounts of ink as Pillow's picture."""
    height, width = pixels.shape[:2]
    return Image.frombuffer("CMYK", (width, height), np.ascontiguousarray(pixels), "raw", "CMYK", 0, 1)
