"""Calls of native routines: types, arrays and failures are checked here, once for all routines."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

NUMBERS = {
    "int32": ctypes.c_int32,
    "int64": ctypes.c_int64,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
}
ARRAYS = {
    "uint8*": (torch.uint8, torch.bool),
    "int32*": (torch.int32,),
    "int64*": (torch.int64,),
    "float*": (torch.float32,),
    "double*": (torch.float64,),
}
NO_MEMORY = b"not enough memory"

# The structures of lmf.cpp, field by field.
LONG = ctypes.c_int64
POINTER = ctypes.c_void_p


class Network(ctypes.Structure):
    _fields_ = (
        *((name, LONG) for name in ("hidden", "depth", "waves", "has_scale", "has_shift", "floats")),
        ("parameters", POINTER),
    )


class Field(ctypes.Structure):
    _fields_ = (
        ("height", LONG),
        ("width", LONG),
        ("table", POINTER),
        ("table_stride", LONG),
        ("modulation", POINTER),
        ("modulation_stride", LONG),
        ("skip", POINTER),
        ("skip_size", LONG * 2),
        ("skip_strides", LONG * 4),
    )


class Axis(ctypes.Structure):
    _fields_ = (
        *((name, LONG) for name in ("spans", "longest", "positions")),
        *((name, POINTER) for name in ("index", "offset", "start", "length", "skip_index", "skip_fraction")),
    )


STRUCTURES: dict[str, type[ctypes.Structure]] = {kind.__name__: kind for kind in (Network, Field, Axis)}


class Library:
    """The routines of a compiled library.

    The library itself says which arguments they take (common.h), so Python and C++ cannot disagree on them.
    RuntimeError where a structure has another size in C++ than in calls.py.
    """

    def __init__(self, library: ctypes.CDLL):
        self.types: dict[str, list[str]] = {}
        self.routines = {}
        describe = library.native_interface
        describe.argtypes, describe.restype = (), ctypes.c_char_p
        for line in describe().decode().splitlines():
            name, *words = line.split()
            if name == "struct":
                _check_size(*words)
                continue
            routine = library[name]
            routine.argtypes, routine.restype = [_ctype(word) for word in words], ctypes.c_char_p
            self.types[name], self.routines[name] = words, routine

    def call(self, name: str, *arguments: object) -> None:
        """Call a routine with numbers, tensors, structures, and None for optional arrays.

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
    """Where the values of a CPU tensor of one of these types are; the caller keeps it alive.

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


def _check_size(name: str, size: str) -> None:
    own = ctypes.sizeof(STRUCTURES[name])
    if own != int(size):
        raise RuntimeError(f"structure {name} has {size} bytes in C++ and {own} in calls.py")


def _ctype(kind: str) -> type:
    if kind in NUMBERS:
        return NUMBERS[kind]
    structure = STRUCTURES.get(kind.removesuffix("*"))
    return ctypes.POINTER(structure) if structure else ctypes.c_void_p
