"""The structures of lmf.cpp, field by field; their sizes are compared with C++ when the library is loaded."""

import ctypes

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
