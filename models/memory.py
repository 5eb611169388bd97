"""How much is computed at a time: on a CPU what its caches hold, on an accelerator what its memory holds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

# Size of a chunk's widest intermediate on a CPU: larger ones leave its cache and are slower.
CHUNK_BYTES = 4 << 20
SHARE = 4  # of an accelerator's free memory, for a chunk's widest intermediate: others of its size exist beside it
SMALLEST_BYTES = 1 << 20
UNTOLD_BYTES = 8 << 30  # free on devices that do not say

_bound: ContextVar[int | None] = ContextVar("bound", default=None)


@contextmanager
def bounded(memory: int | None) -> Iterator[None]:
    """Within the block, an accelerator's memory counts as at most so many bytes; None leaves the bound as it is."""
    outer = _bound.get()
    token = _bound.set(min((bound for bound in (outer, memory) if bound is not None), default=None))
    try:
        yield
    finally:
        _bound.reset(token)


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
    """Call `compute`, and where an accelerator's memory ends, again with chunks half as large, down to
    SMALLEST_BYTES."""
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
