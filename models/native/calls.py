"""Calls of native routines: types, arrays and failures are checked here, once for all routines."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

NUMBERS = {"int32": ctypes.c_int32, "int64": ctypes.c_int64, "float": ctypes.c_float, "double": ctypes.c_double}
ARRAYS = {
    "uint8*": (torch.uint8, torch.bool),
    "int32*": (torch.int32,),
    "int64*": (torch.int64,),
    "float*": (torch.float32,),
    "double*": (torch.float64,),
}
NO_MEMORY = b"not enough memory"


class Library:
    """The routines of a compiled library.

    The library itself says which arguments they take and how large its structures are (common.h), so Python and C++
    cannot disagree on them.
    """

    def __init__(self, library: ctypes.CDLL):
        self.types: dict[str, list[str]] = {}
        self.routines = {}
        self.sizes: dict[str, int] = {}
        describe = library.native_interface
        describe.argtypes, describe.restype = (), ctypes.c_char_p
        for line in describe().decode().splitlines():
            name, *words = line.split()
            if name == "struct":
                self.sizes[words[0]] = int(words[1])
                continue
            routine = library[name]
            routine.argtypes = [NUMBERS.get(word, ctypes.c_void_p) for word in words]
            routine.restype = ctypes.c_char_p
            self.types[name], self.routines[name] = words, routine

    def record(self, name: str, *fields: int | None) -> ctypes.Array:
        """A structure, whose fields are numbers and addresses of 64 bits each; RuntimeError for another number of them
        than C++ has."""
        record = (ctypes.c_int64 * len(fields))(*(field or 0 for field in fields))
        if ctypes.sizeof(record) != self.sizes[name]:
            raise RuntimeError(f"structure {name} has {self.sizes[name]} bytes in C++, not {ctypes.sizeof(record)}")
        return record

    def call(self, name: str, *arguments: object) -> None:
        """Call a routine with numbers, tensors, records, and None for optional arrays.

        Tensors must be contiguous on the CPU and of the type that C++ reads; their shapes are checked by the caller
        (`check_shape`). `address` passes strided ones. ValueError for a wrong tensor or when the routine refuses its
        arguments, TypeError for a wrong number of arguments, MemoryError without enough memory.
        """
        types = self.types[name]
        if len(arguments) != len(types):
            raise TypeError(f"{name} takes {len(types)} arguments, not {len(arguments)}")
        values = [
            address(argument, *ARRAYS[kind]) if isinstance(argument, Tensor) else argument
            for argument, kind in zip(arguments, types, strict=True)
        ]
        failure = self.routines[name](*values)
        if failure == NO_MEMORY:
            raise MemoryError(f"not enough memory for {name}")
        if failure is not None:
            raise ValueError(f"{name}: {failure.decode()}")


def address(tensor: Tensor, *dtypes: torch.dtype, strided: bool = False) -> int:
    """Address of the values of a CPU tensor of one of these types; the caller keeps it alive.

    ValueError for other tensors, and unless `strided` for those that are not contiguous.
    """
    if tensor.dtype not in dtypes or tensor.device.type != "cpu":
        raise ValueError(f"{tensor.dtype} on {tensor.device}; expected {' or '.join(map(str, dtypes))} on the CPU")
    if not strided and not tensor.is_contiguous():
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)} is not contiguous")
    return tensor.data_ptr()


def check_shape(what: str, tensor: Tensor, shape: Sequence[int | None]) -> None:
    """ValueError unless a tensor has this shape, in which None stands for any size."""
    actual = tuple(tensor.shape)
    if len(actual) != len(shape) or any(size not in (None, n) for n, size in zip(actual, shape, strict=True)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{what} has shape {actual}; expected ({expected})")
