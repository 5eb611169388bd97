"""Tensors in files as NumPy arrays, without PyTorch: plain .pth files of torch.save, and .safetensors.

Nothing in a file is run, and what is not plain is refused: PyTorch's own readers know more, and say more of a file that
is damaged.
"""

import io
import json
import math
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from utils.errors import InputError
from utils.files import check_archive, check_regular

LARGEST_FILE = 1 << 28  # bytes
LONGEST_PICKLE = 1 << 20
STORAGES = {
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "ShortStorage": np.dtype(np.int16),
    "IntStorage": np.dtype(np.int32),
    "LongStorage": np.dtype(np.int64),
    "HalfStorage": np.dtype(np.float16),
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
}
SAFETENSORS_TYPES = {
    "I8": np.int8, "U8": np.uint8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "F16": np.float16, "F32": np.float32, "F64": np.float64,
}  # fmt: skip


class NotPlainError(InputError):
    """A file that is damaged, is something else, or holds more than is read here."""


def read_saved_arrays(path: str | Path, wanted: Callable[[bytes], bool] = lambda _: True) -> Any:
    """What torch.save wrote to a .pth file: arrays, numbers and texts in dicts and lists; NotPlainError otherwise, also
    where the pickled structure, which names all that is in the file, is not `wanted`."""
    path = check_regular(path, "checkpoint")
    try:
        if path.stat().st_size > LARGEST_FILE or sys.byteorder != "little":
            raise NotPlainError(f"{path} is larger than what is read here")
        with zipfile.ZipFile(path) as archive:
            (structure,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            root = structure.removesuffix("data.pkl")
            if archive.getinfo(structure).file_size > LONGEST_PICKLE:
                raise NotPlainError(f"{path} holds more than tables")
            pickled = archive.read(structure)
            if not wanted(pickled):
                raise NotPlainError(f"{path} holds something else")
            check_archive(path, "checkpoint")
            if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
                raise NotPlainError(f"{path} has another byte order")
            return _Unpickler(pickled, lambda key: archive.read(f"{root}data/{key}")).load()
    except InputError:
        raise
    except Exception as error:  # a file made to be refused can fail in any way
        raise NotPlainError(f"{path} is no plain file of torch.save ({type(error).__name__})") from None


class _Unpickler(pickle._Unpickler):
    """Knows tensors and nothing else: no name in a file is imported or called.

    It is the unpickler in Python, for that in C takes as much memory as the largest number of an object in a file.
    """

    def __init__(self, pickled: bytes, read: Callable[[str], bytes]):
        super().__init__(io.BytesIO(pickled))
        self.read_storage = read

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in STORAGES:
            return name
        raise NotPlainError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, storage, key, _, count = pid
        if kind != "storage" or not str(key).isdecimal():
            raise NotPlainError("it holds something other than tensors")
        values = np.frombuffer(self.read_storage(key), STORAGES[storage])
        if len(values) != count:
            raise NotPlainError("a tensor has another size than it says")
        return values

    def load_build(self) -> None:
        """Attributes of an OrderedDict, which state dicts have, are left out; nothing else has any."""
        self.stack.pop()
        if type(self.stack[-1]) is not OrderedDict:
            raise NotPlainError("it holds something other than tensors")

    dispatch: ClassVar = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}


def _tensor(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_: Any) -> np.ndarray:
    """What torch._utils._rebuild_tensor_v2 makes, of contiguous tensors."""
    count = math.prod(size)
    steps = tuple(math.prod(size[axis + 1 :]) for axis in range(len(size)))
    if tuple(stride) != steps or min((offset, *size)) < 0 or offset + count > len(storage):
        raise NotPlainError("a tensor is not contiguous, or not within what the file holds")
    return storage[offset : offset + count].reshape(size)


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays, metadata) of a .safetensors file; NotPlainError when its header lies or names types that are not read
    here."""
    path = check_regular(path, "checkpoint")
    try:
        if path.stat().st_size > LARGEST_FILE or sys.byteorder != "little":
            raise NotPlainError(f"{path} is larger than what is read here")
        content = path.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start].decode())
        metadata = header.pop("__metadata__", {})
        arrays = {name: _array(content, start, **entry) for name, entry in header.items()}
        if start + sum(array.nbytes for array in arrays.values()) != len(content):
            raise NotPlainError(f"{path} holds other bytes than its header says")
        if not all(isinstance(text, str) for text in metadata.values()):
            raise NotPlainError(f"{path} has metadata that are no texts")
    except InputError:
        raise
    except Exception as error:  # a file made to be refused can fail in any way
        raise NotPlainError(f"{path} is no .safetensors ({type(error).__name__})") from None
    return arrays, metadata


def _array(content: bytes, start: int, dtype: str, shape: list, data_offsets: list) -> np.ndarray:
    first, last = data_offsets
    kind, count = np.dtype(SAFETENSORS_TYPES[dtype]), math.prod(shape)
    if min((first, *shape)) < 0 or last - first != count * kind.itemsize or start + last > len(content):
        raise NotPlainError("a tensor is not within what the file holds")
    return np.frombuffer(content, kind, count, start + first).reshape(shape)
