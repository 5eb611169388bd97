"""Names of files, and writing them all or nothing."""

import errno
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from utils.errors import InputError

TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.tmp")
UNWRITABLE = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG,
    errno.ENOTDIR, errno.EISDIR, errno.ELOOP,
)  # fmt: skip
PROJECT = Path(__file__).parents[1]


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its name when the block ends well, and is removed when it does not.

    Folders on the way are made, and removed again with the file. The umask decides who may read it. InputError when
    there is no writing in the folder, or the disk is full.
    """
    path = Path(path)
    refuse_devices(path)
    with new_folder(path.parent), writing(path):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield temporary
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Make `folder` and those above it; the new ones that are empty are removed again when the block raises."""
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]  # the innermost first
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {folder}: {error.strerror}; choose another one") from None
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):  # never made, or meanwhile used by others
                path.rmdir()
        raise


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """InputError that names `path` when what is written in the block meets a full disk or a place without permission.

    Other errors, such as a missing compiler, pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise InputError(f"cannot write {path}: {error.strerror}; make room or choose another folder") from None


def clear_temporaries(folder: Path, before: float) -> None:
    """Remove what killed processes left of `atomic_file` in `folder`, as far as it is older than `before`, a time."""
    for path in folder.iterdir():
        with suppress(OSError):  # others may clear it, too
            if TEMPORARY.fullmatch(path.name) and path.stat().st_mtime <= before:
                path.unlink()


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
    refuse_devices(path)
    return path


def check_new_target(path: str | Path, overwrite: bool) -> Path:
    """As `check_target`; InputError also for a file that is there, unless it may be overwritten."""
    path = check_target(path)
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already; name another file, or --overwrite it")
    return path


def refuse_devices(path: Path) -> None:
    """InputError for what is there but no file: a device or a pipe would be replaced by a file."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise InputError(f"cannot write {path}: it is no file but a pipe or a device; name a file")


def distinct_names(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for what is made of each file: its stem, or its whole name where two would be one (a.png, a.jpg and
    a.png.png), also to a file system that does not tell capitals."""
    names = {path: path.stem for path in paths}
    while shared := {name for name, count in Counter(map(str.casefold, names.values())).items() if count > 1}:
        whole = {path: path.name for path, name in names.items() if name.casefold() in shared}
        if whole.items() <= names.items():
            break
        names |= whole
    return names


def from_anywhere(path: str | Path) -> Path:
    """`path`, or where there is none, the same below the project's own folder."""
    path = Path(path)
    own = PROJECT / path
    return own if not path.exists() and own.exists() else path
