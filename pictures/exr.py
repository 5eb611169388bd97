"""OpenEXR: linear light as floats, by the package of that name (an extra).

Pictures here are encoded for viewing, as models know them, so that light goes through the curve of sRGB when it is
read and back when it is written; the curve goes on beyond 1, and below 0 with the sign. Colours in a file are
multiplied with its alpha, pixels are not.
"""

import io
import re
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pictures.metadata import Metadata
from pictures.picture import Picture, PixelFormat
from utils.errors import InputError
from utils.system import check_memory

MAGIC = b"\x76\x2f\x31\x01"
NAMES = {"L": ("Y",), "RGB": ("R", "G", "B")}
ALPHA = "A"
PIXEL = 32  # bytes, while it is read
REC_709 = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)  # what a file without chromaticities has
TEXT_NAME = re.compile(r"[A-Za-z]\w{0,30}")
# Attributes that are no texts of a user's
STRUCTURE = re.compile(
    "channels|compression|dataWindow|displayWindow|lineOrder|pixelAspectRatio|screenWindow.*|tiles|name|type|view"
    "|version|chunkCount|.Density|preview|chromaticities|.*[tT]imeCode|keyCode"
)
ENCODED, LINEAR = 0.04045, 0.04045 / 12.92  # where the curve of sRGB begins
LACKING = "OpenEXR files need one more package: pip install OpenEXR"


def check_available(path: str | Path) -> None:
    """InputError where the package is not installed."""
    if find_spec("OpenEXR") is None:
        raise InputError(f"{path}: {LACKING}")


def to_light(values: np.ndarray) -> np.ndarray:
    """Values encoded as sRGB -> linear light, float32."""
    size = np.abs(values.astype(np.float64))
    light = np.where(size <= ENCODED, size / 12.92, ((size + 0.055) / 1.055) ** 2.4)
    return np.copysign(light, values).astype(np.float32)


def from_light(light: np.ndarray) -> np.ndarray:
    """The inverse of `to_light`."""
    size = np.abs(light.astype(np.float64))
    values = np.where(size <= LINEAR, size * 12.92, 1.055 * size ** (1 / 2.4) - 0.055)
    return np.copysign(values, light).astype(np.float32)


def read(content: bytes, name: str) -> Picture:
    """The first part of a file, grey or RGB, with alpha or without, as floats of any size; InputError for one without
    such channels, too large, or without the package."""
    check_available(name)
    import OpenEXR

    header = OpenEXR.File(io.BytesIO(content), separate_channels=True, header_only=True).header()
    (left, top), (right, bottom) = header["dataWindow"]
    height, width = int(bottom - top + 1), int(right - left + 1)
    check_memory(height * width * PIXEL, f"{name}: reading {width}x{height} pixels")
    file = OpenEXR.File(io.BytesIO(content), separate_channels=True)
    channels, parts = file.channels(), len(file.parts)
    colours = next((form for form, names in NAMES.items() if set(names) <= set(channels)), None)
    if colours is None:
        raise InputError(f"{name} has channels {', '.join(channels)}; expected R, G and B, or Y")
    taken = [*NAMES[colours], *([ALPHA] if ALPHA in channels else [])]
    if any((channels[key].xSampling, channels[key].ySampling) != (1, 1) for key in taken):
        raise InputError(f"{name} holds colours at a lower resolution; write it with R, G and B")
    planes = [channels[key].pixels for key in taken]
    if any(plane.dtype.kind != "f" for plane in planes):
        raise InputError(f"{name} holds whole numbers; write it as half or float")
    pixels = np.stack(planes, axis=2).astype(np.float32)
    count = len(colours)
    if len(taken) > count:
        alpha = pixels[:, :, count:]
        pixels[:, :, :count] = np.divide(pixels[:, :, :count], alpha, out=pixels[:, :, :count], where=alpha > 0)
    pixels[:, :, :count] = from_light(pixels[:, :, :count])
    losses = [f"without channel {key}" for key in channels if key not in taken]
    losses += ["only the first of its parts used"] if parts > 1 else []
    primaries = header.get("chromaticities")
    if primaries is not None and not np.allclose(np.ravel(primaries), REC_709, atol=1e-3):
        losses.append("without its chromaticities")
    if np.any(np.subtract(header["dataWindow"], header["displayWindow"])):
        losses.append("without its display window")
    density, aspect = float(header.get("xDensity", 0)), float(header.get("pixelAspectRatio", 1))
    dpi = (density, density * aspect) if density > 0 and aspect > 0 else None
    metadata = Metadata(dpi=dpi, text={key: text for key, text in header.items() if _is_text(key, text)})
    return Picture(pixels, colours + ALPHA * (len(taken) > count), metadata, losses=tuple(losses))


def write(stream: BinaryIO, pixels: np.ndarray, kind: PixelFormat, metadata: Metadata) -> None:
    """A picture (H, W, C) float32, as 32-bit floats, to a stream that can go back."""
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    header |= {key: text for key, text in metadata.text.items() if _is_text(key, text)}
    if metadata.dpi:
        header |= {"xDensity": float(metadata.dpi[0]), "pixelAspectRatio": metadata.dpi[1] / metadata.dpi[0]}
    count = len(kind.colours)
    light, alpha = to_light(pixels[:, :, :count]), pixels[:, :, count:]
    planes = np.dstack([light * alpha, alpha]) if kind.has_alpha else light
    names = NAMES[kind.colours] + (ALPHA,) * kind.has_alpha
    channels = {name: np.ascontiguousarray(planes[:, :, number]) for number, name in enumerate(names)}
    OpenEXR.File(header, channels).write(stream)


def _is_text(key: str, text: object) -> bool:
    return isinstance(text, str) and bool(TEXT_NAME.fullmatch(key)) and not STRUCTURE.fullmatch(key)
