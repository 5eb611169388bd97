"""How models compute: number format, memory at a time, and whether they are being traced into an ONNX graph.

Encoders compute in float32 or in bfloat16, which many processors multiply two to four times as fast; rendering is
float32. A model marks with `reduced` what may be bfloat16. Chunks fit a CPU's caches or an accelerator's free memory.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch

from utils.errors import InputError
from utils.registry import PRECISIONS

NATIVE_CAPABILITY = (8, 0)  # of the first GPUs of NVIDIA that multiply bfloat16
CHUNK_BYTES = 4 << 20  # of a chunk's widest intermediate on a CPU: larger ones leave its cache and are slower
SHARE = 4  # of an accelerator's free memory, for a chunk's widest intermediate: others of its size exist beside it
SMALLEST_BYTES = 1 << 20
UNTOLD_BYTES = 8 << 30  # free on devices that do not say

_precision = ContextVar("precision", default="float32")
_bound: ContextVar[int | None] = ContextVar("bound", default=None)


@contextmanager
def _within(variable: ContextVar, value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def using(precision: str) -> AbstractContextManager[None]:
    """Within the block, `reduced` computes in this precision, float32 or bfloat16."""
    return _within(_precision, precision)


@contextmanager
def reduced(device: torch.device) -> Iterator[bool]:
    """Within the block, convolutions and matrix products on `device` are computed in the precision in use. Gives
    whether that is bfloat16; their results may then be, too."""
    rounded = _precision.get() != "float32"
    with torch.autocast(device.type, torch.bfloat16) if rounded else nullcontext():
        yield rounded


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
    """float32 or bfloat16 for a model; InputError for an unknown `precision`, or bfloat16 without an encoder.

    "auto" is the precision that the weights were `released` for (`models.zoo.ModelFile`), where the processor
    multiplies that.
    """
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision '{precision}'; known are: {', '.join(PRECISIONS)}")
    if precision == "bfloat16" and not encodes:
        raise InputError("precision 'bfloat16' is not possible here: this model has no encoder; use auto or float32")
    if precision != "auto":
        return precision
    return released if encodes and multiplies_bfloat16(device) else "float32"


def bounded(memory: int | None) -> AbstractContextManager[None]:
    """Within the block, an accelerator's memory counts as at most so many bytes; None leaves the bound as it is."""
    bounds = [bound for bound in (_bound.get(), memory) if bound is not None]
    return _within(_bound, min(bounds, default=None))


def free_bytes(device: torch.device) -> int:
    """Bytes that may still be allocated on an accelerator."""
    if device.type == "cuda" and torch.cuda.is_available():
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    if device.type == "mps" and torch.backends.mps.is_available():
        return max(0, torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return UNTOLD_BYTES


def usable_bytes(device: torch.device) -> int:
    """`free_bytes`, as far as they are not `bounded`."""
    bound = _bound.get()
    return free_bytes(device) if bound is None else min(bound, free_bytes(device))


def chunk_bytes(device: torch.device) -> int:
    """Size that the widest intermediate of a chunk should have on a device."""
    return CHUNK_BYTES if device.type == "cpu" else max(SMALLEST_BYTES, usable_bytes(device) // SHARE)


def in_memory_of(device: torch.device, compute: Callable[[], None]) -> None:
    """Call `compute`; when an accelerator's memory ends, again with chunks half as large, down to SMALLEST_BYTES."""
    bound = None
    while True:
        try:
            with bounded(bound):
                compute()
            return
        except torch.OutOfMemoryError:
            bound = (usable_bytes(device) if bound is None else bound) // 2
            if bound < SHARE * SMALLEST_BYTES:
                raise
        if device.type == "cuda":
            torch.cuda.empty_cache()


def is_exporting() -> bool:
    """`torch.onnx.is_in_onnx_export` without importing torch.onnx; graphs have no loops and no native routines."""
    return "torch.onnx" in sys.modules and torch.onnx.is_in_onnx_export()
