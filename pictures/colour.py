"""Colours: by name, by profiles, in palettes, and those of print and of measuring as RGB."""

import io
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageColor

from pictures.picture import PEAKS, Picture, levels
from utils.errors import InputError

COLOURS = 256
TRANSPARENT = COLOURS - 1  # the entry of a palette that is transparent
OPAQUE_FROM = 128  # alpha
# Chromaticities of red, green, blue and white, x and y, and curves from values to light, by the numbers of ITU-T H.273
_D65 = (0.3127, 0.329)
BT709 = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, *_D65)
PRIMARIES = {
    1: BT709,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.31, 0.316),
    5: (0.64, 0.33, 0.29, 0.6, 0.15, 0.06, *_D65),
    6: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *_D65),
    7: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *_D65),
    9: (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, *_D65),
    11: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.314, 0.351),
    12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *_D65),
    22: (0.63, 0.34, 0.295, 0.605, 0.155, 0.077, *_D65),
}
_BT709_CURVE, SRGB_CURVE = (
    (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081),
    (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
)
CURVES = {4: (2.2,), 5: (2.8,), 8: (1.0,), 13: SRGB_CURVE, **dict.fromkeys((1, 6, 14, 15), _BT709_CURVE)}
HIGH_RANGE = {16: "PQ", 18: "HLG"}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


def coded_profile(code: tuple[int, int], grey: bool) -> tuple[bytes | None, str | None]:
    """The ICC profile of (primaries, curve) by ITU-T H.273, None for sRGB and for what is not specified, and what no
    profile says, in words."""
    primaries, curve = code
    if curve in HIGH_RANGE:
        return None, f"{HIGH_RANGE[curve]} colours, which no profile here describes"
    if primaries in (1, 2) and curve in (2, 13):
        return None, None
    if primaries not in (2, *PRIMARIES) or curve not in (2, *CURVES):
        return None, f"colours of primaries {primaries} and curve {curve}"
    return rgb_profile(PRIMARIES.get(primaries, BT709), CURVES.get(curve, SRGB_CURVE), grey), None


def rgb_profile(primaries: Sequence[float], curve: Sequence[float], grey: bool = False) -> bytes:
    """An ICC profile (version 4.3) of x and y of red, green, blue and white, and of a parametric curve: a power, or
    five numbers of ICC's function type 3; of grey levels by the curve alone."""
    xy = np.array(primaries, float).reshape(4, 2)
    columns = np.stack([xy[:, 0], xy[:, 1], 1 - xy.sum(1)]) / xy[:, 1]  # XYZ of each at Y = 1
    white = columns[:, 3]
    adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD
    colorants = adapted @ (columns[:, :3] * np.linalg.solve(columns[:, :3], white))

    def fixed(values: Any) -> bytes:
        return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in np.ravel(values))

    def text(words: str) -> bytes:
        coded = words.encode("utf-16-be")
        return struct.pack(">4s4xII2s2sII", b"mluc", 1, 12, b"en", b"US", len(coded), 28) + coded

    shape = struct.pack(">4s4xHxx", b"para", 0 if len(curve) == 1 else 3) + fixed(curve)
    tags = {b"desc": text("as the file says"), b"cprt": text("CC0"), b"wtpt": b"XYZ " + bytes(4) + fixed(_D50)}
    if grey:
        tags[b"kTRC"] = shape
    else:
        names = (b"rXYZ", b"gXYZ", b"bXYZ")
        tags |= {name: b"XYZ " + bytes(4) + fixed(column) for name, column in zip(names, colorants.T, strict=True)}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), shape) | {b"chad": b"sf32" + bytes(4) + fixed(adapted)}
    table, data, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI4s4s4s12x4s28x12s48x", start + len(data), 0x04300000, b"mntr",
                       b"GRAY" if grey else b"RGB ", b"XYZ ", b"acsp", fixed(_D50))  # fmt: skip
    return head + struct.pack(">I", len(tags)) + table + data


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
    image = srgb_of(image_of(replace(picture, pixels=levels(picture.pixels, 8))), picture.metadata.icc)
    return replace(picture, pixels=np.array(image), channels="RGB", metadata=replace(picture.metadata, icc=None))


def image_of(picture: Picture) -> Image.Image:
    """Pillow's image, of 8 bits a channel, or of grey in any depth."""
    if picture.channels == "CMYK":
        pixels = np.ascontiguousarray(picture.pixels)
        return Image.frombuffer("CMYK", picture.size[::-1], pixels, "raw", "CMYK", 0, 1)
    return Image.fromarray(picture.pixels[:, :, 0] if picture.channels == "L" else picture.pixels)


def palette_losses(picture: Picture) -> list[str]:
    """What a palette with one transparent entry does not hold of a picture, in words."""
    picture, losses = replace(picture, pixels=levels(picture.pixels, 8)), []
    pixels = np.array(image_of(picture).convert("RGBA"))
    alpha = pixels[..., 3]
    if ((alpha > 0) & (alpha < PEAKS[8])).any():
        losses.append("transparency reduced to all or nothing")
    seen = Image.fromarray(pixels[None, alpha >= OPAQUE_FROM, :3])
    if alpha.any() and seen.getcolors(COLOURS - picture.pixel_format.has_alpha) is None:
        losses.append(f"colours reduced to {COLOURS}")
    return losses


def palette_image(picture: Picture) -> Image.Image:
    """Pillow's image with a palette, exact where the colours are few enough; with alpha, what is less than half opaque
    has the entry TRANSPARENT."""
    pixels = np.array(image_of(picture).convert("RGBA"))
    colour, hidden = np.ascontiguousarray(pixels[..., :3]), pixels[..., 3] < OPAQUE_FROM
    has_alpha = picture.pixel_format.has_alpha
    colour[hidden] = next(iter(colour[~hidden]), 0)  # what is hidden takes no colours
    image = Image.fromarray(colour).quantize(COLOURS - has_alpha, Image.Quantize.MEDIANCUT)
    image.putpalette((image.getpalette() + [0] * 3 * COLOURS)[: 3 * COLOURS])
    if has_alpha:
        image.paste(TRANSPARENT, mask=Image.fromarray(hidden))
        image.info["transparency"] = TRANSPARENT
    return image
