"""Threads, memory and devices of this machine; PyTorch is imported where it is needed."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from utils.errors import InputError
from utils.processes import launched, local_count, local_rank

if TYPE_CHECKING:
    import torch

CGROUP = Path("/sys/fs/cgroup")  # of a container
QUOTA = CGROUP / "cpu.max"  # microseconds of processor time in a period, and the period's length

_chosen: list[int] = []  # what --threads says, if anything

LEAST_FREE = 1 << 27  # bytes that a limit has to leave beside PyTorch
MOST_THREADS = 64  # or two for each processor
MOST_WORKERS = 8  # more rarely help one training, and each takes memory


def settle_threads(number: int | None = None) -> None:
    """Import PyTorch and let it compute with `number` threads; by default with as many as it chooses itself, but no
    more than there are processors for this process. OMP_NUM_THREADS is kept to where it is set.

    Threads of OpenMP that have no work sleep, unless OMP_WAIT_POLICY or GOMP_SPINCOUNT say otherwise: by default they
    spin, and beside another busy process a short encode then takes many times as long.

    InputError where PyTorch does not load. Within a limit (`ulimit -v`), where it may end the process, another one
    tries that first.
    """
    if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        os.environ["OMP_WAIT_POLICY"] = "passive"  # read by OpenMP when PyTorch loads it
    if _process() is not None:
        tried = subprocess.run([sys.executable, "-c", f"import torch; bytearray({LEAST_FREE})"], capture_output=True)
        if tried.returncode:
            raise InputError("PyTorch does not load within the limit of this process; allow it more memory (ulimit -v)")
    with uncollected():
        try:
            import torch
        except ImportError as error:
            raise InputError(f"PyTorch cannot be loaded: {error}; install requirements.txt") from None

    number = _choose(number)
    if number is None and "OMP_NUM_THREADS" not in os.environ:
        number = min(torch.get_num_threads(), available_processors())
    if number is not None:
        torch.set_num_threads(number)


@contextmanager
def uncollected() -> Iterator[None]:
    """A block of imports without garbage collection, and without any of what they made ever after: it stays until the
    end. Collections took a third of the time in which PyTorch is imported and left again."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def threads_without_torch(number: int | None = None) -> int:
    """`settle_threads` where PyTorch is not needed; returns `threads_in_use`."""
    _choose(number)
    return threads_in_use()


def threads_in_use() -> int:
    """Thread count of this process beside PyTorch's: `--threads`, else OMP_NUM_THREADS, else one a processor."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return next(iter(_chosen), None) or (given.isdecimal() and int(given)) or available_processors()


def _choose(number: int | None) -> int | None:
    """`number`, but no more threads than are of any use: OpenMP dies of tens of thousands."""
    number = None if number is None else min(number, max(MOST_THREADS, 2 * (os.cpu_count() or 1)))
    _chosen[:] = [] if number is None else [number]
    return number


def available_processors() -> int:
    """Processors that this process may use: of the machine, by its affinity, and by the quota of its container, whose
    part of a processor counts as a whole one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def data_workers(number: int | str | None = None) -> int:
    """Processes that prepare training data: `number`, or where that is "auto" or None, one for each processor but the
    one that trains, at most MOST_WORKERS. Processes that torchrun starts on one machine share its processors."""
    if isinstance(number, int):
        return number
    return min(MOST_WORKERS, max(0, available_processors() // local_count() - 1))


def _quota() -> float | None:
    """Processors' worth of time that the container may take; None without a limit."""
    try:
        quota, period = map(float, QUOTA.read_text().split())
    except (OSError, ValueError):  # no such container, or "max"
        return None
    return quota / period


ENDED = re.compile(
    "can't allocate memory|out of memory|not enough memory|bad_alloc|could not create a primitive"
    "|can't start new thread|failed to map segment",
    re.IGNORECASE,
)
LIMIT, USAGE = CGROUP / "memory.max", CGROUP / "memory.current"

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
    limits = (_machine(), _container(), _process())
    return min((limit for limit in limits if limit is not None), default=None)


def check_memory(needed: int, what: str, allowed: int | None = None) -> None:
    """InputError when `what` needs more bytes than there are, or than are `allowed`."""
    for limit, words in ((allowed, "--memory allows {}"), (available_memory(), "{} are free")):
        if limit is not None and needed > limit:
            free = words.format(amount(limit))
            raise InputError(f"{what} needs about {amount(needed)} of memory, {free}; ask for a smaller size")


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
    known = isinstance(error, RuntimeError | OSError | ImportError) and ENDED.search(str(error))
    return isinstance(error, MemoryError) or bool(known)


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Turn the out-of-memory errors of Python and PyTorch into an InputError about `what`."""
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


def _container() -> int | None:
    try:
        return max(0, int(LIMIT.read_text()) - int(USAGE.read_text()))
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


def select_device(device: str = "auto", gpu: str | None = None) -> tuple[torch.device, str | None]:
    """The device for `--device` (auto, cpu, cuda, cuda:N, mps) or the published programs' `--gpu`, and a notice.

    `--gpu N` asks for a GPU if there is one; without one the notice says that the CPU is used. A `--device` that is
    not there is an InputError. Of several processes on a machine each gets a GPU of its own: that of its number, or in
    its place in `--gpu 0,2,3`.
    """
    import torch

    if launched() > 1 and device in ("auto", "cuda") and torch.cuda.device_count():
        return _own_gpu(gpu), None
    if local_count() > 1 and device.startswith("cuda:"):
        raise InputError(f"--device {device}: each process of torchrun takes a GPU of its own; give --device cuda")
    gpus, has_mps = torch.cuda.device_count(), torch.backends.mps.is_available()
    notice = None
    if device == "auto":
        number = "0" if gpu is None else gpu.split(",")[0].strip()
        if not number.isdigit():
            raise InputError(f"--gpu {gpu}: expected the number of a GPU, such as 0")
        if int(number) < gpus:
            device = "cuda" if gpu is None else f"cuda:{number}"
        else:
            device = "mps" if has_mps else "cpu"
            if gpu is not None and not has_mps:
                notice = f"--gpu {gpu}: no such GPU on this machine, using the CPU"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise InputError(f"--device {device}: expected auto, cpu, cuda, cuda:N or mps") from None
    if (chosen.index or 0) >= {"cpu": 1, "cuda": gpus, "mps": int(has_mps)}.get(chosen.type, 0):
        raise InputError(f"--device {device} is not on this machine, which has {gpus} CUDA devices; use --device auto")
    return chosen, notice


def _own_gpu(gpu: str | None) -> torch.device:
    """The GPU of this process, which becomes its default one; InputError where there are fewer than processes."""
    import torch

    there = [str(number) for number in range(torch.cuda.device_count())]
    numbers = there if gpu is None else [number.strip() for number in gpu.split(",")]
    usable = [number for number in numbers if number in there]
    if usable != numbers or local_rank() >= len(usable):
        raise InputError(
            f"{f'--gpu {gpu}: ' if gpu else ''}torchrun has started more than {local_rank()} processes here, and "
            f"{len(usable)} such GPUs are there; use --nproc-per-node {max(1, len(usable))}, or --device cpu"
        )
    device = torch.device("cuda", int(usable[local_rank()]))
    torch.cuda.set_device(device)
    return device
