"""A cache of decoded pixels: one file for a whole set, which all data workers and processes map into memory."""

import json
import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pictures.reading import read_rgb
from utils.errors import InputError
from utils.files import atomic_file, clear_temporaries, locked, new_folder
from utils.system import available_processors

# The file ends with what is where, as JSON, and then: a mark, length and CRC-32 of the JSON.
FOOTER = struct.Struct("<8sQI")
MARK = b"pixmap 1"
A_DAY = 24 * 3600  # in seconds: no map takes that long to write
AT_A_TIME = 16  # pictures that are decoded before they are written

Entry = tuple[int, int, int, int, int]  # bytes and time in ns of the picture; offset, height and width of its pixels


class PixelMap:
    """The decoded pictures at `paths` below `root`, in `folder`/pixels.

    The file is made, or made anew, by one process while others wait, unless it holds all of them with the sizes and
    times that the pictures have now; pictures that have not changed are taken from the file before. What it holds of
    other pictures of the folder stays, so that several selections share it. Later changes are seen at the next start.
    """

    def __init__(self, root: Path, folder: Path, paths: Sequence[Path]):
        self.root = root
        self.file = folder / "pixels"
        states = {self._name(path): _state(path) for path in paths}
        self.entries, self.pixels = self._mapped()
        if not self._holds(states):
            try:
                with new_folder(folder), locked(folder, wait=True):
                    clear_temporaries(folder, before=time.time() - A_DAY)
                    self.entries, self.pixels = self._mapped()
                    if not self._holds(states):
                        self._write(states)
                        self.entries, self.pixels = self._mapped()
            except InputError as error:
                if not str(error).startswith(("cannot write", "cannot make")):
                    raise
                raise InputError(f"{error}; or set cache: none") from None

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "file": self.file}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)  # in a worker that is not forked
        self.entries, self.pixels = self._mapped()

    def read(self, path: Path) -> np.ndarray:
        """(H, W, 3) uint8 of the picture at `path`, mapped read-only: a crop reads only its own part of the file."""
        return _picture(self.pixels, self.entries[self._name(path)])

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _holds(self, states: dict[str, tuple[int, int]]) -> bool:
        return all(name in self.entries and self.entries[name][:2] == state for name, state in states.items())

    def _mapped(self) -> tuple[dict[str, Entry], np.ndarray]:
        """What the file holds, and its bytes; nothing unless it is whole."""
        nothing: tuple[dict, np.ndarray] = {}, np.empty(0, np.uint8)
        try:
            with open(self.file, "rb") as file:
                end = file.seek(-FOOTER.size, os.SEEK_END)
                mark, length, checksum = FOOTER.unpack(file.read())
                if mark != MARK or length > end:
                    return nothing
                file.seek(end - length)
                content = file.read(length)
                if zlib.crc32(content) != checksum:
                    return nothing
                # Of the same open file: another process may put a new one under its name
                pixels = np.memmap(file, np.uint8, "r", shape=end - length).view(np.ndarray)
        except (OSError, struct.error):
            return nothing
        return {name: tuple(entry) for name, entry in json.loads(content).items()}, pixels

    def _write(self, states: dict[str, tuple[int, int]]) -> None:
        """The file with the pictures of `states`, and with others that it holds and that have not changed."""
        kept = {name: entry for name, entry in self.entries.items() if entry[:2] == _state_or_none(self.root / name)}
        entries: dict[str, Entry] = {}
        with atomic_file(self.file) as temporary, open(temporary, "wb") as file:
            for name, entry in kept.items():
                entries[name] = (*entry[:2], file.tell(), *entry[3:])
                file.write(_picture(self.pixels, entry))
            new = [name for name in states if name not in kept]
            for name, pixels in zip(new, self._decoded(new), strict=True):
                entries[name] = (*states[name], file.tell(), *pixels.shape[:2])
                file.write(np.ascontiguousarray(pixels))
            content = json.dumps(entries).encode()
            file.write(content)
            file.write(FOOTER.pack(MARK, len(content), zlib.crc32(content)))

    def _decoded(self, names: Sequence[str]) -> Iterator[np.ndarray]:
        """The pictures in order, a few in memory at a time."""
        remaining = iter(tqdm(names, desc=f"decoding {self.root}", leave=False, disable=None))
        with ThreadPoolExecutor(available_processors()) as pool:
            while some := list(islice(remaining, AT_A_TIME)):
                yield from pool.map(read_rgb, (self.root / name for name in some))


def _picture(pixels: np.ndarray, entry: Entry) -> np.ndarray:
    *_, offset, height, width = entry
    return pixels[offset : offset + height * width * 3].reshape(height, width, 3)


def _state(path: Path) -> tuple[int, int]:
    """Bytes and time of a file; InputError where it cannot be read."""
    try:
        state = os.stat(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return state.st_size, state.st_mtime_ns


def _state_or_none(path: Path) -> tuple[int, int] | None:
    try:
        return _state(path)
    except InputError:
        return None
