"""Writing PNG row by row, compressed by several threads."""

import io
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any

import numpy as np
from PIL import Image

from pictures.picture import CHANNELS, PixelFormat
from utils import system

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOURS = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}
COMPRESSION = 4  # of PNG, 0 to 9: a fifth of the time of zlib's own, 6, for a twentieth more bytes
PNG_LARGEST_CHUNK = 1 << 20  # bytes of pixels compressed together, by one of several threads
WINDOW = 1 << 15  # bytes that deflate looks back
RAW = -15  # without zlib's head and checksum, which are of the whole stream
HEAD = b"\x78\x01"  # of a zlib stream with this window


def png_frame(channels: str, options: dict[str, Any]) -> bytes:
    """A PNG of one pixel with all the metadata of Pillow's `options`: `write_png` replaces its header and pixels."""
    frame = io.BytesIO()
    Image.new(channels, (1, 1)).save(frame, "PNG", **options)
    return frame.getvalue()


def write_png(
    stream: IO[bytes],
    frame: bytes,
    size: tuple[int, int],
    kind: PixelFormat,
    bands: Iterable[np.ndarray],
    compression: int = COMPRESSION,
) -> None:
    """Rows of a picture of `size` (H, W), (rows, W, C) uint8 or uint16 at a time, as PNG; `frame` is `png_frame`'s."""
    stream.write(PNG_SIGNATURE)
    for name, data, _ in png_chunks(frame):
        if name == "IHDR":
            data = png_header(size, kind)
        parts: Iterable[bytes] = [data]
        if name == "IDAT":
            rows = _filtered_rows(bands, size[1] * len(kind.channels))
            parts = compressed(rows, compression, system.threads_in_use())
        for part in parts:
            stream.write(png_chunk(name.encode("latin-1"), part))


def png_header(size: tuple[int, int], kind: PixelFormat) -> bytes:
    """What a PNG of a size (H, W) has in its IHDR chunk."""
    return struct.pack(">IIBBBBB", size[1], size[0], kind.depth, PNG_COLOURS[kind.channels], 0, 0, 0)


def png_chunks(content: Sequence) -> Iterator[tuple[str, bytes, bytes]]:
    """Names, data and checksums of the chunks of a PNG."""
    place = len(PNG_SIGNATURE)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        end = place + 8 + length
        yield content[place + 4 : place + 8].decode("latin-1"), content[place + 8 : end], content[end : end + 4]
        place = end + 4


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG: its length, name, data and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def quick_png(pixels: np.ndarray, small: bool = True) -> bytes:
    """A PNG of (H, W, C) uint8, C from 1 (grey) to 4 (RGBA), of which the even ones end with alpha.

    `small`: every row holds differences to the pixel on the left, packed by their frequency alone, in half the time of
    zlib's quickest level with the filters that Pillow tries, for about as many bytes. Else nothing is packed, in a
    tenth of that time.
    """
    height, width, channels = pixels.shape
    rows, filtered = pixels.reshape(height, -1), np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = small  # PNG's number of the filter
    filtered[:, 1:] = rows
    if small:
        filtered[:, 1 + channels :] -= rows[:, :-channels]
    packer = zlib.compressobj(int(small), strategy=zlib.Z_HUFFMAN_ONLY)
    packed = packer.compress(filtered) + packer.flush()
    header = png_header((height, width), PixelFormat(CHANNELS[channels], 8))
    chunks = (b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")
    return PNG_SIGNATURE + b"".join(png_chunk(name, data) for name, data in chunks)


def _filtered_rows(bands: Iterable[np.ndarray], width: int) -> Iterator[memoryview]:
    """Bands of rows of `width` numbers as a PNG compresses them: every byte as its difference to the one above."""
    above = None
    for band in bands:
        rows = band.reshape(len(band), width)
        step = max(1, PNG_LARGEST_CHUNK // (rows.itemsize * width))
        for top in range(0, len(rows), step):
            part = rows[top : top + step]
            levels = np.ascontiguousarray(part.astype(part.dtype.newbyteorder(">"), copy=False)).view(np.uint8)
            filtered = np.empty((len(levels), 1 + levels.shape[1]), np.uint8)
            filtered[:, 0] = 2  # the filter's number
            filtered[0, 1:] = levels[0] if above is None else levels[0] - above
            np.subtract(levels[1:], levels[:-1], out=filtered[1:, 1:])
            above = levels[-1].copy()
            yield filtered.data.cast("B")


def compressed(parts: Iterable[bytes | memoryview], level: int, threads: int) -> Iterator[bytes]:
    """`parts` as one zlib stream, each compressed by one of `threads` threads; no more parts are held than threads.

    Parts are compressed each with what was before it as its dictionary (as pigz does), so that a part of a megabyte
    costs a few bytes more than without parts. The stream depends on the parts and on `level` 0 to 9 only.
    """
    checksum, before = 1, b""
    yield HEAD
    with ThreadPoolExecutor(max(1, threads)) as pool:
        at_work: deque[Future[bytes]] = deque()
        for part in parts:
            checksum = zlib.adler32(part, checksum)
            at_work.append(pool.submit(_compressed_part, part, before, level))
            before = (before + bytes(part[-WINDOW:]))[-WINDOW:]
            if len(at_work) >= threads:
                yield at_work.popleft().result()
        while at_work:
            yield at_work.popleft().result()
    yield zlib.compressobj(level, wbits=RAW).flush() + struct.pack(">I", checksum)


def _compressed_part(part: bytes | memoryview, dictionary: bytes, level: int) -> bytes:
    compressor = zlib.compressobj(level, wbits=RAW, zdict=dictionary)
    return compressor.compress(part) + compressor.flush(zlib.Z_SYNC_FLUSH)
