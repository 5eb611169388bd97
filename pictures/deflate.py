"""zlib streams compressed by several threads."""

import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

WINDOW = 1 << 15  # bytes that deflate looks back
RAW = -15  # without zlib's head and checksum, which are of the whole stream
HEAD = b"\x78\x01"  # of a zlib stream with this window


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
