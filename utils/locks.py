"""Folders that one process at a time may write to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from utils.errors import InputError
from utils.files import writing

LOCK = ".lock"
BYTE = 1 << 30  # the one that is locked, far behind the text, which others may read meanwhile

try:
    from fcntl import LOCK_EX, LOCK_NB, lockf

    def _lock(file: TextIO, wait: bool) -> None:
        # Not flock: forked data workers would keep that after a kill
        lockf(file, LOCK_EX | (0 if wait else LOCK_NB), 1, BYTE)

except ImportError:  # Windows
    from msvcrt import LK_LOCK, LK_NBLCK, locking

    def _lock(file: TextIO, wait: bool) -> None:
        file.seek(BYTE)
        while True:
            try:
                locking(file.fileno(), LK_LOCK if wait else LK_NBLCK, 1)
                break
            except OSError:  # LK_LOCK gives up after some seconds
                if not wait:
                    raise


@contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of `folder`, which ends with the process, however that ends; when another has it, InputError, or
    `wait` for its end."""
    path = folder / LOCK
    with writing(path):
        file = _open_locked(path, wait)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps open files
            path.unlink()
        file.close()


def is_locked(folder: Path) -> bool:
    """Whether another process holds the lock of `folder`."""
    try:
        with open(folder / LOCK, "r+") as file:
            _lock(file, wait=False)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _open_locked(path: Path, wait: bool) -> TextIO:
    """The open and locked file at `path`, in which the number of this process stands."""
    while True:
        file = open(path, "a+")  # noqa: SIM115
        try:
            _lock(file, wait)
        except OSError:
            file.seek(0)
            holder = file.read()
            file.close()
            raise InputError(f"{path.parent} is in use by process {holder or 'unknown'}; wait for its end") from None
        try:
            same = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        except FileNotFoundError:
            same = False
        if same:  # else the process before this one has just removed it
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return file
        file.close()
