"""How much memory there is to use, and that what was freed is used again."""

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import InputError

ENDED = re.compile("can't allocate memory|out of memory|not enough memory|bad_alloc", re.IGNORECASE)
CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)

# Parameters of glibc's mallopt, and how they are named in the environment
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
ALLOCATION = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"}
KEPT, LARGEST_KEPT = 128 << 20, 32 << 20  # bytes


def keep_freed() -> None:
    """Let the process keep up to KEPT bytes that it freed, blocks of up to LARGEST_KEPT, for what it allocates next.

    By default glibc gives them back at once, and the system clears every page again for the next layer of a network:
    60,000 pages and a third of the time in an encode of 320x180 pixels by EDSR-baseline. Not for what has to stay
    within a bound: what is kept lies in pieces, and strips of 1 GiB took 0.8 GiB more. Left as it is where the
    environment says how memory is allocated, and by other C libraries.
    """
    if os.environ.keys() & ALLOCATION:
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    mallopt(MMAP_THRESHOLD, LARGEST_KEPT)
    mallopt(TRIM_THRESHOLD, KEPT)


def available_memory() -> int | None:
    """Bytes that this process may still take without being stopped: of the machine, its container and its own limit;
    None where the system does not say."""
    limits = [_machine(), *(_container(*files) for files in CGROUPS), _process()]
    return min((limit for limit in limits if limit is not None), default=None)


def check_memory(needed: int, what: str, allowed: int | None = None) -> None:
    """InputError when `what` needs more bytes than there are, or than are `allowed`."""
    available = available_memory()
    if allowed is not None and needed > allowed:
        raise InputError(
            f"{what} needs about {amount(needed)} of memory, --memory allows {amount(allowed)}; ask for a smaller size"
        )
    if available is not None and needed > available:
        raise InputError(
            f"{what} needs about {amount(needed)} of memory, {amount(available)} are free; ask for a smaller size"
        )


def amount(size: float) -> str:
    """Bytes in words: `1.5 GiB`, `300 MiB`, `12 KiB`."""
    for unit, power in (("GiB", 30), ("MiB", 20)):
        if size >= 2**power:
            return f"{size / 2**power:.1f} {unit}"
    return f"{size / 2**10:.1f} KiB"


def usable_memory(allowed: int | None = None) -> int | None:
    """Bytes: what is free, at most what is `allowed`; None where neither is known."""
    limits = [limit for limit in (allowed, available_memory()) if limit is not None]
    return min(limits, default=None)


def is_memory_error(error: Exception) -> bool:
    """Whether Python or PyTorch raises `error` because memory ends."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(ENDED.search(str(error))))


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """What Python and PyTorch raise when memory ends is an InputError about `what`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        raise InputError(f"{what} needs more memory than is free; ask for a smaller size") from None


def _machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def _container(limit: Path, usage: Path) -> int | None:
    try:
        return max(0, int(limit.read_text()) - int(usage.read_text()))
    except (OSError, ValueError):  # no such container, or "max"
        return None


def _process() -> int | None:
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError):
        return None
    return None if limit == resource.RLIM_INFINITY else max(0, limit - used)
