"""Rows of large PNG and TIFF files, as small files that hold only these."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from pictures.metadata import ORIENTATION, SUBDIRECTORIES
from pictures.png import PNG_SIGNATURE, png_chunk, png_chunks

LARGE = 1 << 26  # pixels from which files are cut
BAND = 256  # rows of a PNG that are unpacked together
PNG_CHANNELS = {0: 1, 2: 3}  # by the colour types that are cut, those without alpha and palettes
HEIGHT, COMPRESSION, OFFSETS, COUNTS, ROWS, PLANAR, EXTRA = 257, 259, 273, 279, 278, 284, 338
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
LONG = 4
CUT_MODES = ("L", "RGB", "I;16", "I;16B")


def cut(
    file: Image.Image, content: Sequence, rows: slice, decode: Callable[[bytes], np.ndarray]
) -> tuple[bytes, int] | None:
    """A file that holds at least these rows of an opened one with this content, and the number of its first row; None
    of one that is small or stored in other ways. `decode` reads the pixels (h, w, C) of a PNG."""
    if file.width * file.height < LARGE or file.mode not in CUT_MODES or "transparency" in file.info:
        return None
    if file.format == "TIFF" and file.n_frames == 1:
        return _tiff_rows(file, content, rows)
    return _png_rows(content, rows, decode) if file.format == "PNG" else None


def _png_rows(content: Sequence, rows: slice, decode: Callable[[bytes], np.ndarray]) -> tuple[bytes, int] | None:
    """Filters refer to the row above, so that all rows above are unpacked, some together, and forgotten."""
    chunks = []
    for name, data, checksum in png_chunks(content):
        chunks.append((name.encode("latin-1"), data))
        if zlib.crc32(data, zlib.crc32(chunks[-1][0])) != int.from_bytes(checksum):
            return None  # what is damaged is said by who reads the whole
    width, height, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if interlaced or depth < 8 or colour not in PNG_CHANNELS or b"eXIf" in dict(chunks):
        return None
    packed = b"".join(data for name, data in chunks if name == b"IDAT")
    beside = [(name, data) for name, data in chunks[1:] if name not in (b"IDAT", b"IEND")]

    def made(unpacked: bytes, count: int) -> bytes:
        header = struct.pack(">II", width, count) + chunks[0][1][8:]
        parts = (b"IHDR", header), *beside, (b"IDAT", zlib.compress(unpacked, 1)), (b"IEND", b"")
        return PNG_SIGNATURE + b"".join(png_chunk(name, data) for name, data in parts)

    unpacker, stride = zlib.decompressobj(), 1 + width * PNG_CHANNELS[colour] * depth // 8
    above, kept = bytes(stride), []
    for top in range(0, rows.stop, BAND):
        count = min(BAND, height - top)
        band = unpacker.decompress(packed, count * stride)
        packed = unpacker.unconsumed_tail
        pixels = decode(made(above + band, count + 1))[1:]
        lines = pixels.reshape(count, -1)
        lines = lines.astype(lines.dtype.newbyteorder(">"), copy=False).view(np.uint8)
        above = b"\0" + lines[-1].tobytes()
        if top + count > rows.start:
            kept += [b"\0" + line.tobytes() for line in lines]
    return made(b"".join(kept), len(kept)), rows.start // BAND * BAND


def _tiff_rows(file: Image.Image, content: Sequence, rows: slice) -> tuple[bytes, int] | None:
    """Strips and tiles are packed alone, so that some of them with the file's other tags are a file."""
    given = file.tag_v2
    tiled = TILE_OFFSETS in given
    unit = given[TILE_HEIGHT] if tiled else given.get(ROWS, file.height)
    across = -(-file.width // given[TILE_WIDTH]) if tiled else 1
    names = (TILE_OFFSETS, TILE_COUNTS) if tiled else (OFFSETS, COUNTS)
    places, counts = (given[tag] for tag in names)
    if given.get(COMPRESSION, 1) == 1 and len(places) == 1 and not tiled:  # rows that may be taken for strips
        unit, length = 1, counts[0] // file.height
        places, counts = [places[0] + row * length for row in range(file.height)], [length] * file.height
    if given.get(PLANAR, 1) != 1 or given.get(ORIENTATION, 1) != 1 or EXTRA in given or unit >= file.height:
        return None
    first, last = rows.start // unit, -(-rows.stop // unit)
    places, counts = (values[first * across : last * across] for values in (places, counts))
    tags = ImageFileDirectory_v2(prefix=given.prefix)
    for tag in given:
        if tag not in names:
            tags[tag], tags.tagtype[tag] = given[tag], given.tagtype[tag]
    for tag in {*SUBDIRECTORIES} & {*given}:
        tags[tag] = dict(file.getexif().get_ifd(tag))
    if not tiled:
        tags[ROWS] = unit
    tags[HEIGHT] = min(last * unit, file.height) - first * unit
    start = 0
    for _ in range(2):  # first to learn how long the head is
        ends = np.cumsum([start, *counts])
        for tag, values in zip(names, (ends[:-1], counts), strict=True):
            tags[tag], tags.tagtype[tag] = tuple(map(int, values)), LONG
        head = io.BytesIO()
        tags.save(head)
        start = len(head.getvalue()) if tiled else 0  # Pillow itself adds that to a strip's
    parts = [content[place : place + count] for place, count in zip(places, counts, strict=True)]
    return head.getvalue() + b"".join(parts), first * unit
