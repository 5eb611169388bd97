"""PNG of tiles, quickly: what is shown once on this machine need not be small."""

import struct
import zlib

import numpy as np

COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's numbers of grey, grey with alpha, RGB, RGB with alpha
LEFT = 1  # the filter that subtracts the pixel to the left


def png(pixels: np.ndarray) -> bytes:
    """(H, W, C) uint8 in 1 (grey), 2, 3 (RGB) or 4 channels, of which the even ones end with alpha.

    Every row has the same filter, and differences are packed by their frequency alone: a third of the time of zlib's
    quickest level with the filters that Pillow tries, for about as many bytes.
    """
    height, width, channels = pixels.shape
    row, rows = width * channels, pixels.reshape(height, -1)
    filtered = np.empty((height, 1 + row), np.uint8)
    filtered[:, 0] = LEFT
    filtered[:, 1 : 1 + channels] = rows[:, :channels]
    np.subtract(rows[:, channels:], rows[:, :-channels], out=filtered[:, 1 + channels :])
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_HUFFMAN_ONLY)
    packed = packer.compress(filtered) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, COLOURS[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    checked = zlib.crc32(content, zlib.crc32(name))
    return b"".join((struct.pack(">I", len(content)), name, content, struct.pack(">I", checked)))
