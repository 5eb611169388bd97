"""LeRF-L and LeRF-G as look-up tables (LUTs) from Python: NumPy arrays through the C library of continua_lerf.h."""

import ctypes
import functools
import platform
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 1  # CONTINUA_LERF_VERSION
BITS = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}
Size = tuple[int, int]


class LerfError(ValueError):
    """Why the library cannot do what it is asked for, in one line."""


class _Picture(ctypes.Structure):
    """continua_picture."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("height", "width")),
        *((name, ctypes.c_int32) for name in ("channels", "bits")),
        *((name, ctypes.c_int64) for name in ("row_stride", "pixel_stride", "channel_stride")),
    )

    @classmethod
    def of(cls, pixels: np.ndarray) -> "_Picture":
        """Of an array (h, w, C) that the caller keeps alive; LerfError for one of another kind."""
        if pixels.ndim != 3 or pixels.dtype not in BITS:
            raise LerfError(f"a picture is {pixels.dtype} of shape {pixels.shape}; expected uint8 or uint16 (h, w, C)")
        rows, columns, channels = pixels.strides
        return cls(pixels.ctypes.data, *pixels.shape, BITS[pixels.dtype], rows, columns, channels)


_TABLES, _PICTURE = ctypes.c_void_p, ctypes.POINTER(_Picture)
_INT, _LONG = ctypes.c_int32, ctypes.c_int64
_ROUTINES = {
    "open": (ctypes.c_char_p, ctypes.POINTER(_TABLES)),
    "make": (ctypes.c_char_p, ctypes.c_char_p, _INT, _INT, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(_TABLES)),
    "upscale_part": (_TABLES, _PICTURE, *4 * [_LONG], _PICTURE, _INT),
    "warp": (_TABLES, _PICTURE, ctypes.c_void_p, _PICTURE, ctypes.c_void_p, _LONG, _INT),
}


def library_path(folder: Path = Path(__file__).parent) -> Path:
    """The library in an installed package: on x86 the one for processors since 2013 (AVX2) where this is one."""
    plain, faster = folder / "libcontinua_lerf.so", folder / "libcontinua_lerf-v3.so"
    return faster if faster.exists() and _has_avx2() else plain


@functools.cache
def load_library(path: Path | None = None) -> ctypes.CDLL:
    """The C library, the installed one unless another is named; LerfError when it cannot be loaded or has another
    version."""
    try:
        library = ctypes.CDLL(str(path or library_path()))
        version = library.continua_lerf_version()
    except (OSError, AttributeError) as error:
        raise LerfError(f"the LeRF library cannot be loaded: {error}") from None
    if version != VERSION:
        raise LerfError(f"the LeRF library has version {version}; expected {VERSION}")
    for name, types in _ROUTINES.items():
        routine = getattr(library, f"continua_lerf_{name}")
        routine.argtypes, routine.restype = types, ctypes.c_char_p
    library.continua_lerf_close.argtypes, library.continua_lerf_close.restype = (_TABLES,), None
    return library


class Tables:
    """The LUTs of a LeRF-L (`kernel` linear) or LeRF-G (gauss), ready for pictures; threads may share them."""

    def __init__(
        self,
        luts: Mapping[str, np.ndarray],
        kernel: str = "gauss",
        modes: str = "sct",
        support: int = 2,
        antialias: bool = True,
        library: Path | None = None,
    ):
        """From LUTs by their units' names, s1_sr0 ..., int8 (83521, 1 or 3); LerfError where one is missing or has
        another shape."""
        values = 1 if kernel == "linear" else 3
        shapes = {f"s1_{mode}r0": 1 for mode in modes}
        shapes |= {f"s2_{mode}r{direction}": values for mode in modes for direction in (0, 1)}
        if luts.keys() != shapes.keys():
            raise LerfError(f"LUTs are {', '.join(sorted(luts))}; expected {', '.join(shapes)}")
        arrays = [np.ascontiguousarray(luts[name]) for name in shapes]
        for name, array in zip(shapes, arrays, strict=True):
            if array.dtype != np.int8 or array.shape != (17**4, shapes[name]):
                raise LerfError(f"{name} is {array.dtype} {array.shape}; expected int8 {(17**4, shapes[name])}")
        addresses = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        self._take(library, "make", kernel.encode(), modes.encode(), support, antialias, addresses)

    @classmethod
    def open(cls, path: str | Path, library: Path | None = None) -> "Tables":
        """The LUTs in a .safetensors file; LerfError when it cannot be read or holds something else."""
        tables = cls.__new__(cls)
        try:
            tables._take(library, "open", str(path).encode())
        except LerfError as error:
            raise LerfError(f"{path}: {error}") from None
        return tables

    def upscale(
        self,
        pixels: np.ndarray,
        size: Size,
        window: tuple[int, int, Size] | None = None,
        dtype: Any = None,
        threads: int = 1,
    ) -> np.ndarray:
        """(h, w, C) uint8 or uint16 at a `size` (H, W), or the `window` of it (top, left, its size), of the same type
        unless `dtype` names the other. Where output pixels are larger than input pixels, kernels are widened."""
        top, left, part = window or (0, 0, size)
        output = np.empty((*part, pixels.shape[-1]), dtype or pixels.dtype)
        pictures = _Picture.of(pixels), *size, top, left, _Picture.of(output)
        self._call("upscale_part", self._tables, *pictures, threads)
        return output

    def warp(
        self, pixels: np.ndarray, homography: Sequence[Sequence[float]], size: Size, dtype: Any = None, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """(h, w, C) under a homography (3, 3), which maps input pixels (x, y, 1) to those of an output of `size`: that,
        0 outside the picture, and what is inside, (H, W) bool."""
        output = np.zeros((*size, pixels.shape[-1]), dtype or pixels.dtype)
        inside, matrix = np.zeros(size, bool), np.ascontiguousarray(homography, np.float64)
        if matrix.shape != (3, 3):
            raise LerfError(f"a homography is {matrix.shape}; expected (3, 3)")
        pictures = _Picture.of(pixels), matrix.ctypes.data, _Picture.of(output)
        self._call("warp", self._tables, *pictures, inside.ctypes.data, inside.strides[0], threads)
        return output, inside

    def _take(self, library: Path | None, routine: str, *arguments: object) -> None:
        self._library, tables = load_library(library), _TABLES()
        self._call(routine, *arguments, tables)
        self._tables = tables
        weakref.finalize(self, self._library.continua_lerf_close, tables)

    def _call(self, routine: str, *arguments: object) -> None:
        failure = getattr(self._library, f"continua_lerf_{routine}")(*arguments)
        if failure == b"not enough memory":
            raise MemoryError("not enough memory")
        if failure is not None:
            raise LerfError(failure.decode())


def _has_avx2() -> bool:
    """Whether this is an x86 processor with what x86-64-v3 names; Linux says so."""
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return False
    needed = {"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
    return platform.machine() in ("x86_64", "AMD64") and needed <= set(flags)
