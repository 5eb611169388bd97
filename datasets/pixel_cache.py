"""Decoded pixels on disk, which data workers map into memory together."""

import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np

from pictures.reading import read_rgb
from utils.errors import InputError
from utils.files import atomic_file, clear_temporaries

# What a copy starts with: a mark, bytes and time in ns of the picture, height and width, CRC-32 of the pixels.
HEADER = struct.Struct("<8sqqIII")
MARK = b"pixels 1"
A_DAY = 24 * 3600  # in seconds: no copy takes that long to write


class PixelCache:
    """Copies of the decoded pictures of `root`, in `folder` under their relative paths.

    A copy is made anew unless size and time of its picture are those it was made of, and it is whole; that is checked
    when a process first uses it, the pixels included, and whenever it or the picture has changed since.
    """

    def __init__(self, root: Path, folder: Path):
        self.root = root
        self.folder = folder
        self.sound: dict[Path, tuple] = {}
        if folder.is_dir():
            clear_temporaries(folder, before=time.time() - A_DAY)

    def read(self, path: Path) -> np.ndarray:
        """(H, W, 3) uint8 of the picture at `path`, mapped copy-on-write: a crop reads only its own part of the file,
        and PyTorch, which warns of arrays that are not writable, takes it as it is."""
        copy = self.folder / f"{path.relative_to(self.root)}.pixels"
        try:
            picture = os.stat(path)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        pixels = self._mapped(copy, picture)
        if pixels is None:
            pixels = read_rgb(path)
            try:
                self._write(copy, picture, pixels)
            except InputError as error:
                raise InputError(f"{error}; or set cache: in_memory") from None
        return pixels

    def _mapped(self, copy: Path, picture: os.stat_result) -> np.ndarray | None:
        """The pixels in `copy`; None unless it is whole and made of the `picture`."""
        try:
            with open(copy, "rb") as file:
                state = os.fstat(file.fileno())
                mark, size, time_ns, height, width, checksum = HEADER.unpack(file.read(HEADER.size))
                whole = state.st_size == HEADER.size + height * width * 3 > HEADER.size
                if mark != MARK or (size, time_ns) != (picture.st_size, picture.st_mtime_ns) or not whole:
                    return None
                pixels = np.memmap(file, np.uint8, "c", HEADER.size, (height, width, 3))
        except (OSError, struct.error):
            return None
        key = (state.st_ino, state.st_mtime_ns, size, time_ns)
        if self.sound.get(copy) != key:
            if zlib.crc32(pixels) != checksum:
                return None
            self.sound[copy] = key
        return pixels

    def _write(self, copy: Path, picture: os.stat_result, pixels: np.ndarray) -> None:
        header = MARK, picture.st_size, picture.st_mtime_ns, *pixels.shape[:2], zlib.crc32(pixels)
        with atomic_file(copy) as temporary, open(temporary, "wb") as file:
            file.write(HEADER.pack(*header))
            file.write(np.ascontiguousarray(pixels))
