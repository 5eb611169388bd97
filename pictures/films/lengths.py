"""Whether a film's file is as long as it says of itself: FFmpeg takes what is missing for the end."""

import os
import struct
from pathlib import Path
from typing import BinaryIO

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # how Matroska files begin, and what follows the head
BOX = struct.Struct(">I4s")
LONG_BOX = struct.Struct(">Q")
BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # that an MP4 or QuickTime file begins with
RIFF = struct.Struct("<4sI")


def is_cut_short(path: Path) -> bool:
    """Whether a Matroska, MP4, QuickTime or AVI file ends before its own end; not for others, which say no length."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(8)
        file.seek(0)
        if head.startswith(EBML):
            return _matroska_end(file) > size
        if head[4:] in BOXES:
            return _boxes_end(file, size) > size
        return head.startswith(b"RIFF") and _riff_end(file, size) > size


def _matroska_end(file: BinaryIO) -> int:
    """Where the segment, which holds all, ends; 0 where it does not say so (RFC 9559)."""
    file.seek(len(EBML))
    file.seek(_ebml_number(file) or 0, os.SEEK_CUR)
    length = _ebml_number(file) if file.read(4) == SEGMENT else None
    return 0 if length is None else file.tell() + length


def _ebml_number(file: BinaryIO) -> int | None:
    """A length as EBML (RFC 8794) writes it: as many bytes as the first one has leading zeros, and one; all ones, or
    no byte at all, is unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    count = 8 - first[0].bit_length()
    bits = 7 * (count + 1)
    value = int.from_bytes(first + file.read(count), "big") & ((1 << bits) - 1)
    return None if value == (1 << bits) - 1 else value


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Where the last box of an MP4 or QuickTime file that begins before `size` ends (ISO/IEC 14496-12)."""
    place = 0
    while place + BOX.size <= size:
        file.seek(place)
        length, _ = BOX.unpack(file.read(BOX.size))
        if length == 1:
            content = file.read(LONG_BOX.size)
            length = LONG_BOX.unpack(content)[0] if len(content) == LONG_BOX.size else size + 1
        if length < BOX.size:  # to the end of the file, or damaged
            return size
        place += length
    return place


def _riff_end(file: BinaryIO, size: int) -> int:
    """Where the last RIFF chunk of an AVI file that begins before `size` ends; large files have several."""
    place = 0
    while place + RIFF.size <= size:
        file.seek(place)
        name, length = RIFF.unpack(file.read(RIFF.size))
        if name != b"RIFF":
            return place
        place += RIFF.size + length + length % 2
    return place
