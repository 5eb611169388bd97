"""Files: names, reading files of unknown origin, writing all or nothing, locked folders.

InputError names the file in every case; content is data, no file is ever run.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import secrets
import stat
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from utils.errors import InputError

# NumPy and PyTorch are imported where they are needed: programs read configs before them
if TYPE_CHECKING:
    import numpy as np

LONGEST_TEXT = 1 << 17  # bytes
LONGEST_JSON = 1 << 26


class CodeInFileError(InputError):
    """A pickled file that names classes or functions: nothing of it was run."""


def check_regular(path: str | Path, what: str) -> Path:
    """`path`, if it is a regular file; InputError for devices, pipes and folders. `what` names it in the message."""
    path = Path(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise InputError(f"no {what} {path}; check the name") from None
    except (OSError, ValueError) as error:  # a loop of links, a name too long, a zero byte in it
        raise InputError(f"{what} {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(mode):
        raise InputError(f"{what} {path} is a {'folder' if stat.S_ISDIR(mode) else 'device or pipe'}, not a file")
    return path


@contextmanager
def _parsing(path: str | Path, what: str, expected: str) -> Iterator[Path]:
    """The regular file at `path`, parsed in the block; InputError for whatever a damaged one raises there."""
    path = check_regular(path, what)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats: the file is read, or refused
            yield path
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror or error}") from None
    except Exception as error:
        raise InputError(f"{path} is not a {what} ({type(error).__name__}); expected {expected}") from None


def read_text(path: str | Path, what: str, longest: int = LONGEST_TEXT) -> str:
    """The UTF-8 text of a file of at most `longest` bytes."""
    with _parsing(path, what, "UTF-8 text") as path, open(path, "rb") as file:
        content = file.read(longest + 1)
        if len(content) > longest:
            raise InputError(f"{what} {path} is longer than {longest >> 10} KiB")
        return content.decode()


def read_json(path: str | Path, what: str) -> Any:
    """The value in a JSON file."""
    try:
        return json.loads(read_text(path, what, LONGEST_JSON))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} {path} is not JSON: {error}") from None


def read_array(path: str | Path, what: str) -> np.ndarray:
    """The array of an .npy file of numbers."""
    import numpy as np

    with _parsing(path, what, "an .npy file") as path:
        content = np.load(path, allow_pickle=False)
        if not isinstance(content, np.ndarray):
            raise ValueError("several arrays")
        return content


def read_tensors(path: str | Path, what: str) -> Any:
    """The content of a torch.save file, on the CPU: tensors, numbers and texts in dicts and lists.

    InputError when the file is damaged (by its checksums), unpacks to more than its own size, or is no such file;
    CodeInFileError when it names code. Nothing in it is run.
    """
    import torch

    with _parsing(path, what, "a file written by torch.save") as path:
        _check_archive(path)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if "Unsupported global" in str(error) or "Unsupported class" in str(error):
                raise CodeInFileError(f"{path} holds more than tensors and would run code when loaded") from None
            raise


def _check_archive(path: Path) -> None:
    """InputError when a zip file, which torch.save has written since 2020, is damaged or unpacks to more than it is."""
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > path.stat().st_size:
            raise InputError(f"{path} unpacks to {unpacked:,} bytes, more than it has; torch.save packs nothing")
        if damaged := archive.testzip():
            raise InputError(f"{path} is damaged: the checksum of {damaged} differs; copy or download it again")


TEMPORARY = re.compile(r"\.(.+\.)?[0-9a-f]{8}\.tmp")
LONG_NAME = 200  # bytes: with a longer one, a temporary file has none of its own
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
        name = f"{path.name}." if len(os.fsencode(path.name)) < LONG_NAME else ""
        temporary = path.with_name(f".{name}{secrets.token_hex(4)}.tmp")
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
    """InputError for a device or a pipe, which a file would replace."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise InputError(f"cannot write {path}: it is a pipe or a device; name a file")


def distinct_names(paths: Sequence[Path]) -> dict[Path, str]:
    """An output name for each file: its stem, or its whole name where two stems are equal (a.png, a.jpg and a.png.png),
    ignoring case, as some file systems do."""
    names = {path: path.stem for path in paths}
    while shared := {name for name, count in Counter(map(str.casefold, names.values())).items() if count > 1}:
        whole = {path: path.name for path, name in names.items() if name.casefold() in shared}
        if whole.items() <= names.items():
            break
        names |= whole
    return names


def from_anywhere(path: str | Path) -> Path:
    """`path`, or the same path below the project's folder where only that exists."""
    path = Path(path)
    own = PROJECT / path
    return own if not path.exists() and own.exists() else path


LOCK = ".lock"
BYTE = 1 << 30  # the one that is locked, far behind the text, which others may read meanwhile

try:
    from fcntl import LOCK_EX, LOCK_NB, lockf
except ImportError:  # Windows: folders are not locked
    LOCK_EX = LOCK_NB = 0

    def lockf(*_: Any) -> None:
        pass


def _lock(file: TextIO, wait: bool) -> None:
    lockf(file, LOCK_EX | (0 if wait else LOCK_NB), 1, BYTE)  # not flock: forked data workers keep that after a kill


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
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    return False


def _open_locked(path: Path, wait: bool) -> TextIO:
    """The open and locked file at `path`, in which the number of this process stands."""
    file = open(path, "a+")  # noqa: SIM115
    try:
        _lock(file, wait)
    except OSError:
        file.seek(0)
        with file:
            holder = file.read() or "unknown"
        raise InputError(f"{path.parent} is in use by process {holder}; wait for its end") from None
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return file
    file.close()
    return _open_locked(path, wait)  # the process before this one has just removed the file
