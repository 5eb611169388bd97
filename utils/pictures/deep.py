"""Colour of 16 bits a channel and floats, which Pillow reduces, refuses or does not write.

Pillow's decoders take a file's samples as 8 bits each by dropping the low byte. Told that the byte order is the other
one, they drop the high byte instead: two passes read all there is, whatever the compression, without another library.
"""

import io
import re
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from utils.errors import InputError
from utils.pictures.metadata import SUBDIRECTORIES
from utils.pictures.picture import Picture

DEEP = re.compile(r"(?P<channels>RGB|RGBA|CMYK);16(?P<order>[BLN])")  # layouts whose two bytes can be told apart
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
PNG_HEADER = 33  # bytes of a PNG's signature and first chunk
PNG_COLOURS = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}
PNG_LARGEST_CHUNK = 1 << 24  # bytes of pixels compressed together
TIFF_LONG = 4
BITS, PLANAR = 258, 284
PHOTOMETRIC = {"L": 1, "LA": 1, "RGB": 2, "RGBA": 2, "CMYK": 5}


def layouts(file: Image.Image) -> list[Any]:
    """How an opened file, not yet loaded, stores its pixels: Pillow's raw modes, or whatever a format has instead."""
    layout = [tile.args if isinstance(tile.args, tuple) else (tile.args,) for tile in file.tile]
    return [entry if file.format == "PPM" else entry[0] for entry in layout if entry]


def is_reduced(file: Image.Image) -> bool:
    """Whether Pillow is going to reduce 16-bit channels of an opened file, not yet loaded, to its 8-bit modes.

    Read off the decoder's layout of the pixels, which JPEG 2000 and AVIF do not have.
    """
    if file.mode.startswith(("I", "F")):
        return False
    if file.format == "PPM":
        return any(len(entry) == 2 and entry[1] > 255 for entry in layouts(file))  # (mode, largest level)
    # "RGB;16B" is 16 bits a channel with its byte order; "BGR;16" without one is 16 bits for the whole pixel.
    return any(re.search(r";16[BLN]$", str(entry)) for entry in layouts(file))


def is_misread(file: Image.Image) -> bool:
    """Whether an opened TIFF file has 16-bit channels one after the other, which Pillow takes for 8 bits."""
    return file.format == "TIFF" and file.tag_v2.get(PLANAR) == 2 and max(file.tag_v2.get(BITS, (1,))) > 8


def decode_twice(file: Image.Image, again: Image.Image) -> Picture | None:
    """All of a file of 16 bits a channel, opened twice and not yet loaded; None for layouts that this cannot read."""
    if file.format == "PNG" and layouts(file) == ["LA;16B"]:
        pixels = _grey_and_alpha(again)
        file.load()
        return Picture(pixels, "LA")
    matches = [DEEP.fullmatch(str(entry)) for entry in layouts(again)]
    if file.format not in ("PNG", "TIFF") or not all(matches):
        return None
    swapped = [f"{match['channels']};16{OTHER_ORDER[match['order']]}" for match in matches]
    again.tile = [
        tile._replace(args=(name, *tile.args[1:]) if isinstance(tile.args, tuple) else name)
        for name, tile in zip(swapped, again.tile, strict=True)
    ]
    low, high = np.array(again), np.array(file)
    return Picture(high.astype(np.uint16) * 256 + low, file.mode)


def _grey_and_alpha(file: Image.Image) -> np.ndarray:
    """(h, w, 2) uint16 of a PNG: its bytes declared to be 8-bit RGBA, which are as many a pixel."""
    file.fp.seek(0)
    content = file.fp.read()
    header = content[12:24] + b"\x08\x06" + content[26:29]
    declared = content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[PNG_HEADER:]
    with Image.open(io.BytesIO(declared)) as bytewise:
        return np.array(bytewise).view(">u2").astype(np.uint16)


def is_tiff(source: io.BytesIO | Path) -> bool:
    """Whether a file, or a stream at its start, begins as TIFF files do."""
    head = source.read(4) if isinstance(source, io.BytesIO) else source.open("rb").read(4)
    return head in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_other_tiff(source: io.BytesIO | Path, name: str) -> tuple[np.ndarray, str]:
    """(h, w, C) pixels of a TIFF file that Pillow does not take, and their channels; InputError without tifffile, or
    for one that it does not take either."""
    try:
        import tifffile
    except ImportError:
        raise InputError(f"{name}: this kind of TIFF needs one more package: pip install tifffile") from None
    with tifffile.TiffFile(source) as file:
        page = file.pages[0]
        pixels = page.asarray()
        pixels = np.moveaxis(pixels, 0, -1) if page.planarconfig == 2 and pixels.ndim == 3 else pixels
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    colour = {0: "L", 1: "L", 2: "RGB", 5: "CMYK"}.get(int(page.photometric))
    channels = f"{colour}A" if colour and pixels.shape[2] > len(colour) else colour
    if channels not in PHOTOMETRIC or pixels.ndim != 3 or pixels.shape[2] < len(channels):
        raise InputError(f"{name} is a TIFF of a kind that is not known here; convert it to RGB")
    pixels = pixels[:, :, : len(channels)]
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32)
    elif pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{name} holds {pixels.dtype} numbers; convert it to 8 or 16 bits, or to floats")
    return (np.iinfo(pixels.dtype).max - pixels if page.photometric == 0 else pixels), channels


def tiff_exif(source: io.BytesIO | Path) -> Image.Exif:
    """The tags of a TIFF file that Pillow does not take as a picture."""
    exif = Image.Exif()
    with source if isinstance(source, io.BytesIO) else source.open("rb") as stream:
        exif.load_from_fp(stream)
        for tag in SUBDIRECTORIES:
            exif.get_ifd(tag)
        exif.tobytes()
    return exif


def write_png(stream: IO[bytes], pixels: np.ndarray, channels: str, options: dict[str, Any]) -> None:
    """(h, w, C) uint16 as PNG, with Pillow's `options` for the metadata.

    Pillow writes a file of one pixel with all metadata, of which the header and the pixels are replaced.
    """
    frame = io.BytesIO()
    Image.new(channels, (1, 1)).save(frame, "PNG", **options)
    height, width, count = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOURS[channels], 0, 0, 0)
    content = frame.getvalue()
    stream.write(content[:8])
    position = 8
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        name = content[position + 4 : position + 8]
        if name == b"IDAT":
            for data in _compressed_rows(pixels.reshape(height, width * count), 2 * count):
                stream.write(_chunk(name, data))
        else:
            data = header if name == b"IHDR" else content[position + 8 : position + 8 + length]
            stream.write(_chunk(name, data))
        position += 12 + length


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _compressed_rows(rows: np.ndarray, step: int) -> Iterator[bytes]:
    """(h, n) uint16 as a PNG's compressed data; every byte as its difference to the one `step` bytes before."""
    compressor = zlib.compressobj()
    band = max(1, PNG_LARGEST_CHUNK // (2 * rows.shape[1]))
    for top in range(0, len(rows), band):
        levels = np.ascontiguousarray(rows[top : top + band].astype(">u2")).view(np.uint8)
        filtered = np.ones((len(levels), 1 + levels.shape[1]), np.uint8)  # 1 in front: the filter's number
        filtered[:, 1 : 1 + step] = levels[:, :step]
        np.subtract(levels[:, step:], levels[:, :-step], out=filtered[:, 1 + step :])
        if data := compressor.compress(filtered):
            yield data
    yield compressor.flush()


def write_tiff(stream: BinaryIO, pixels: np.ndarray, channels: str, tags: ImageFileDirectory_v2) -> None:
    """(h, w, C) uint16 or float32 as TIFF, uncompressed, with `tags` of the metadata."""
    height, width, count = pixels.shape
    little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    tags[256], tags[257] = width, height
    tags[258] = (8 * pixels.itemsize,) * count
    tags[259], tags[262], tags[277], tags[278], tags[284] = 1, PHOTOMETRIC[channels], count, height, 1
    tags[273], tags[279] = (0,), (little.nbytes,)
    tags.tagtype[273] = tags.tagtype[279] = TIFF_LONG
    if channels.endswith("A"):
        tags[338] = (2,)  # alpha that colours are not multiplied by
    tags[339] = (3 if pixels.dtype.kind == "f" else 1,) * count
    tags.save(stream)
    stream.write(np.ascontiguousarray(little).data)
