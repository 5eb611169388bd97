"""Calls from Python into C++."""

import ctypes

import pytest
import torch

from models.native import backends
from tests.models.native.building import needs_compiler


@needs_compiler
def test_every_routine_has_types() -> None:
    """ctypes guesses neither arguments nor results, and calls with too few or wrong ones do not reach C++."""
    for name in ("lmf", "lerf", "resampler", "convolution"):
        library = backends.library(name)
        assert library.routines
        for routine in library.routines.values():
            assert routine.restype is ctypes.c_char_p
            assert len(routine.argtypes) > 2
    with pytest.raises(RuntimeError, match=r"structure Axis has 72 bytes in C\+\+, not 16"):
        backends.library("lmf").record("Axis", 1, None)
    library, values, nan = backends.library("lerf"), torch.zeros(3), torch.zeros(1, dtype=torch.int32)
    with pytest.raises(TypeError, match="takes 4 arguments"):
        library.call("lerf_levels", values, 3)
    with pytest.raises(ctypes.ArgumentError):
        library.call("lerf_levels", values, 3.5, values.to(torch.uint8), nan)
    with pytest.raises(ValueError, match=r"torch\.float32.*expected torch\.uint8"):
        library.call("lerf_levels", values, 3, values, nan)
    with pytest.raises(ValueError, match="not contiguous"):
        library.call("lerf_levels", torch.zeros(6)[::2], 3, values.to(torch.uint8), nan)
