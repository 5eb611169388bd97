"""How the kernels' C interface is called: numbers, arrays, failures."""

import ctypes

from torch import Tensor

INT = ctypes.c_int32
LONG = ctypes.c_int64
FLOAT = ctypes.c_float
DOUBLE = ctypes.c_double
POINTER = ctypes.c_void_p


def pointer(tensor: Tensor | None) -> ctypes.c_void_p | None:
    """Where a tensor's values are: the caller keeps it alive during the call."""
    return None if tensor is None else POINTER(tensor.data_ptr())


def call(library: ctypes.CDLL, function: str, *arguments: object) -> None:
    """Call a kernel that says whether it could be completed; MemoryError where it could not."""
    if not getattr(library, function)(*arguments):
        raise MemoryError(f"not enough memory for {function}")
