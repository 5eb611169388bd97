"""In which number format encoders compute: float32, or bfloat16, which many processors multiply two to four times as
fast. Rendering is float32 always.

A model says with `reduced` which part of it may be computed so; `Upscaler.computing` says whether it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from utils.errors import InputError
from utils.names import PRECISIONS

NATIVE_CAPABILITY = (8, 0)  # of the first GPUs of NVIDIA that multiply bfloat16

_precision = ContextVar("precision", default="float32")


@contextmanager
def using(precision: str) -> Iterator[None]:
    """Within the block, what `reduced` computes in: float32 or bfloat16."""
    token = _precision.set(precision)
    try:
        yield
    finally:
        _precision.reset(token)


@contextmanager
def reduced(device: torch.device) -> Iterator[bool]:
    """Within the block, convolutions and matrix products on `device` are computed in the precision in use. Gives
    whether that is bfloat16; their results may then be, too."""
    if _precision.get() == "float32":
        yield False
    else:
        with torch.autocast(device.type, torch.bfloat16):
            yield True


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512-BF16, AMX, ARM's BF16; NVIDIA's from Ampere on)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= NATIVE_CAPABILITY
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def choose(precision: str, encodes: bool, device: torch.device, released: str = "float32") -> str:
    """float32 or bfloat16 for a model that `encodes` or not; InputError for bfloat16 where nothing would be computed in
    it.

    "auto" is what the weights were `released` for, see `models.zoo.ModelFile`, where the processor multiplies that.
    """
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision '{precision}'; known are: {', '.join(PRECISIONS)}")
    if precision == "bfloat16" and not encodes:
        raise InputError("precision 'bfloat16' is not possible here: this model has no encoder; use auto or float32")
    if precision != "auto":
        return precision
    return released if encodes and multiplies_bfloat16(device) else "float32"
