"""How many threads compute, and that those without work leave the processor to others."""

import gc
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import InputError
from utils.processes import local_count

# Of a container, version 2 and version 1: microseconds of processor time in a period, and the period's length.
QUOTA = Path("/sys/fs/cgroup/cpu.max")
QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")

_chosen: list[int] = []  # what --threads says, if anything

MOST_WORKERS = 8  # more rarely help one training, and each takes memory


def settle(number: int | None = None) -> None:
    """Import PyTorch and let it compute with `number` threads; by default with as many as it chooses itself, but no
    more than there are processors for this process. OMP_NUM_THREADS is kept to where it is set.

    Threads of OpenMP that have no work sleep, unless OMP_WAIT_POLICY or GOMP_SPINCOUNT say otherwise: by default they
    spin, and beside another busy process a short encode then takes many times as long.

    InputError where PyTorch does not load.
    """
    if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        os.environ["OMP_WAIT_POLICY"] = "passive"  # read by OpenMP when PyTorch loads it
    with uncollected():
        try:
            import torch
        except ImportError as error:
            remedy = "install requirements.txt, and see that there is memory enough (ulimit -v)"
            raise InputError(f"PyTorch cannot be loaded: {error}; {remedy}") from None

    _choose(number)
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


def without_torch(number: int | None = None) -> int:
    """How many threads compute where PyTorch is not needed: `number`, else OMP_NUM_THREADS where it is set, else one a
    processor."""
    _choose(number)
    return in_use()


def in_use() -> int:
    """How many threads this process uses beside PyTorch's: what its options say, else as `without_torch`."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    chosen = _chosen[0] if _chosen else None
    return chosen or (int(given) if given.isdecimal() and int(given) else available_processors())


def _choose(number: int | None) -> None:
    _chosen[:] = [] if number is None else [number]


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
    for read in (lambda: QUOTA.read_text().split(), lambda: [path.read_text() for path in QUOTA_V1]):
        try:
            quota, period = map(float, read())
        except (OSError, ValueError):  # no such container, or "max"
            continue
        if quota > 0 and period > 0:
            return quota / period
    return None
