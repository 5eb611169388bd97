"""Names of files, and writing them all or nothing."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from utils.errors import InputError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its name when the block ends well, and is removed when it does not.

    Folders on the way are made, and removed again with the file. InputError when there is no writing in the folder.
    """
    path = Path(path)
    missing = [folder for folder in path.parents if not os.path.exists(folder)]  # the innermost first
    try:
        temporary = _make_beside(path)
        try:
            yield temporary
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # never made, or meanwhile used by others
                folder.rmdir()
        raise


def _make_beside(path: Path) -> Path:
    """A new empty file in the folder of `path`, which is made; InputError when that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another folder") from None
    os.close(handle)
    return Path(name)


def check_target(path: str | Path) -> Path:
    """`path`, when a file can be written there, with folders yet to make; makes none. InputError otherwise."""
    path = Path(path)
    folder = next(folder for folder in path.parents if os.path.exists(folder))
    if not os.path.isdir(folder):
        raise InputError(f"cannot write {path}: {folder} is not a folder; choose another folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: no permission to write in {folder}; choose another folder")
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; add a file name")
    return path


def distinct_names(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for what is made of each file: its stem, or its whole name where two share a stem (a.png and a.jpg)."""
    stems = Counter(path.stem for path in paths)
    return {path: path.stem if stems[path.stem] == 1 else path.name for path in paths}
