"""Reading files that others made: regular files only, as large as they say, and no larger than their content can be.

InputError names the file in every case; what is read is data, no file is ever run."""

from __future__ import annotations

import json
import math
import os
import pickle
import stat
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from utils.errors import InputError

# NumPy and PyTorch are imported where they are needed: programs read configs before them
if TYPE_CHECKING:
    import numpy as np

LONGEST_TEXT = 1 << 17  # bytes
LONGEST_JSON = 1 << 26


class CodeInFileError(InputError):
    """A pickled file that names classes or functions: nothing of it was run."""


def check_regular(path: str | Path, what: str) -> Path:
    """`path`, when it is a file that ends (no device, pipe or folder); InputError otherwise, which calls it `what`."""
    path = Path(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise InputError(f"no {what} {path}; check the name") from None
    except (OSError, ValueError) as error:  # a loop of links, a name too long, a zero byte in it
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{what} {path} cannot be read: {reason}") from None
    if not stat.S_ISREG(mode):
        raise InputError(f"{what} {path} is no file but a {'folder' if stat.S_ISDIR(mode) else 'device or pipe'}")
    return path


def read_text(path: str | Path, what: str, longest: int = LONGEST_TEXT) -> str:
    """The UTF-8 text of a file of at most `longest` bytes."""
    path = check_regular(path, what)
    try:
        with open(path, "rb") as file:
            content = file.read(longest + 1)
        if len(content) > longest:
            raise InputError(f"{what} {path} is longer than {longest >> 10} KiB")
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{what} {path} cannot be read: it is no text ({error.reason})") from None
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}") from None


def read_json(path: str | Path, what: str) -> Any:
    """What a JSON file holds."""
    try:
        return json.loads(read_text(path, what, LONGEST_JSON))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} {path} is not JSON: {error}") from None


def read_array(path: str | Path, what: str) -> np.ndarray:
    """The array of an .npy file, which holds exactly the bytes that its header asks for."""
    import numpy as np

    path = check_regular(path, what)
    try:
        with open(path, "rb") as file:
            shape, in_columns, dtype = _array_header(file)
            expected = math.prod(shape) * dtype.itemsize
            held = os.fstat(file.fileno()).st_size - file.tell()
            if dtype.hasobject or expected != held:
                raise ValueError(f"its header asks for {dtype} of shape {shape}, and {held} bytes follow")
            content = file.read(expected)
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}") from None
    except Exception as error:  # whatever a damaged header makes NumPy's parser raise
        raise InputError(f"{path} is no {what} ({error}); expected an .npy file") from None
    return np.frombuffer(bytearray(content), dtype).reshape(shape, order="F" if in_columns else "C")


def _array_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    import numpy as np

    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def read_tensors(path: str | Path, what: str) -> Any:
    """What torch.save wrote to a file, on the CPU: tensors, numbers and texts in dicts and lists.

    InputError when the file is damaged (its checksums say so), unpacks to more than it holds, or is something else;
    CodeInFileError when it names code, of which nothing is run.
    """
    import torch

    path = check_regular(path, what)
    check_archive(path, what)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickle protocols: the file loads, or is refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            raise CodeInFileError(f"{path} holds more than tensors and would run code when loaded") from None
        raise InputError(f"{path} is not a {what}; expected a file written by torch.save") from None
    except Exception as error:  # whatever a damaged file makes PyTorch raise
        kind = type(error).__name__
        raise InputError(f"{path} is not a {what} ({kind}); expected a file written by torch.save") from None


def check_archive(path: Path, what: str) -> None:
    """InputError when a zip file, which torch.save has written since 2020, is damaged or unpacks to more than it is."""
    try:
        with open(path, "rb") as file:
            if file.read(2) != b"PK":
                return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > path.stat().st_size:
                raise InputError(f"{path} unpacks to {unpacked:,} bytes, more than it has; torch.save packs nothing")
            damaged = archive.testzip()
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes zipfile raise
        raise InputError(f"{path} is not a {what} ({type(error).__name__}); expected a file by torch.save") from None
    if damaged:
        raise InputError(f"{path} is damaged: the checksum of {damaged} differs; copy or download it again")
