"""Files for tests."""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms

from pictures.metadata import Metadata

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))  # of Adam7


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    """Reproducible noise over the whole range."""
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def deep_png(path: Path, pixels: np.ndarray, interlaced: bool = False, extra: Mapping[bytes, bytes] = {}) -> None:
    """Write (h, w, C) uint16 as a PNG of 16 bits a channel, which Pillow itself writes only in grey."""
    height, width, channels = pixels.shape
    parts = [pixels[y::down, x::across] for y, x, down, across in PASSES] if interlaced else [pixels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in parts if part.size for row in part)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, interlaced),
        **extra,
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    written = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks.items())
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))


def small_cmyk_profile() -> bytes:
    """A colour profile of four inks, of which the first is red, the second green, the third blue and the last black;
    with a grid of two levels an ink, in Lab."""
    solid = {
        (0, 0, 0): (255, 128, 128),
        (1, 0, 0): (138, 208, 195),
        (0, 1, 0): (224, 49, 208),
        (0, 0, 1): (82, 207, 20),
    }
    table = b""
    for index in range(16):
        inks = tuple(index >> shift & 1 for shift in (3, 2, 1, 0))
        lab = (20, 128, 128) if inks[3] or sum(inks[:3]) > 1 else solid[inks[:3]]
        table += bytes(lab)
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    ramp = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + ramp * 4 + table + ramp * 3
    back = b"mft1" + bytes(4) + bytes((3, 4, 2, 0)) + identity + ramp * 3 + bytes(4 * 8) + ramp * 4
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    text = b"text" + bytes(4) + b"test\0"
    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"A2B0": lut, b"B2A0": back, b"wtpt": white, b"cprt": text, b"desc": description}
    offset, directory, content = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        directory += name + struct.pack(">II", offset + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    body = struct.pack(">I", len(tags)) + directory + content
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + body


def described() -> Metadata:
    """All that a file can say, as a photograph on its side, 8 wide and 6 high, says it."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.XResolution] = exif[ExifTags.Base.YResolution] = 300.0
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    camera[ExifTags.Base.FNumber] = 2.8
    camera[ExifTags.Base.ExifImageWidth], camera[ExifTags.Base.ExifImageHeight] = 8, 6
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    xmp = b'<x tiff:Orientation="6" exif:PixelXDimension="8"><exif:PixelYDimension>6</exif:PixelYDimension></x>'
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return Metadata(profile, exif.tobytes(), xmp, (300.0, 300.0), {"Comment": "größer", "Author": "somebody"},
                    b"\x1c\x02\x05\0\x03abc")  # fmt: skip
