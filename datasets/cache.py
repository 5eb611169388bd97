"""A cache of decoded pictures: an array file of each, which all data workers and processes map into memory."""

import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pictures.reading import read_rgb
from utils.errors import InputError
from utils.files import atomic_file, clear_temporaries, locked, new_folder
from utils.system import available_processors


class PixelMap:
    """The decoded pictures at `paths` below `root`, as arrays of their names in `folder`.

    One process decodes while others wait. An array has the time of its picture, so one that has changed is decoded
    again, at the next start.
    """

    def __init__(self, root: Path, folder: Path, paths: Sequence[Path]):
        self.root, self.folder = root, folder
        if not self._stale(paths):
            return
        try:
            with new_folder(folder), locked(folder, wait=True):
                clear_temporaries(folder, before=time.time())
                stale = self._stale(paths)
                with ThreadPoolExecutor(available_processors()) as pool, closing(pool.map(self._write, stale)) as done:
                    deque(tqdm(done, f"decoding {root}", len(stale), leave=False, disable=None), maxlen=0)
        except InputError as error:
            if not str(error).startswith(("cannot write", "cannot make")):
                raise
            raise InputError(f"{error}; or set cache: none") from None

    def read(self, path: Path) -> np.ndarray:
        """(H, W, 3) uint8 of the picture at `path`, mapped read-only: a crop reads only its own part of the file."""
        return np.load(self._array(path), mmap_mode="r").view(np.ndarray)

    def _array(self, path: Path) -> Path:
        return self.folder / f"{path.relative_to(self.root)}.npy"

    def _stale(self, paths: Sequence[Path]) -> list[Path]:
        """The pictures of which there is no array, a damaged one, or one of another time."""

        def is_current(path: Path) -> bool:
            try:
                same_time = os.stat(path).st_mtime_ns == os.stat(self._array(path)).st_mtime_ns
                return same_time and self.read(path).ndim == 3
            except (OSError, ValueError, EOFError):
                return False

        return [path for path in paths if not is_current(path)]

    def _write(self, path: Path) -> None:
        changed = os.stat(path).st_mtime_ns if path.exists() else 0
        with atomic_file(self._array(path)) as temporary:
            with open(temporary, "wb") as file:
                np.save(file, read_rgb(path))
            os.utime(temporary, ns=(changed, changed))
