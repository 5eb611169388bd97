"""The processes of one job that torchrun started, and how long work is stopped.

A program without torchrun is a job of one process: nothing here imports PyTorch.
"""

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import chain, islice
from types import FrameType
from typing import Any, TypeVar

from utils.errors import InputError

SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Stopped(BaseException):
    """Work that ended before its end; programs print the message, one line, and exit with `status`.

    As KeyboardInterrupt it is no Exception: code that takes any Exception for a damaged file lets it pass.
    """

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class Watch:
    """Whether work should stop, for a signal or because its time is up (see `watch`)."""

    def __init__(self, minutes: float | None):
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.signal: int | None = None
        self.elsewhere = 0  # the signal that another process of the job has got
        self.waits = False

    @property
    def time_is_up(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    @property
    def state(self) -> tuple[int, bool]:
        """The signal, or 0, and whether the time is up: what processes of a job tell each other for `agreed`."""
        return self.signal or 0, self.time_is_up

    def agreed(self, states: Iterable[tuple[int, bool]]) -> bool:
        """As `wanted`, but the same in all processes of a job: whether one of their `states` asks to stop. A signal
        to one of them ends the `deferred` blocks of all."""
        signals, times = zip(*states, strict=True)
        self.elsewhere = max(signals)
        return self.elsewhere > 0 or any(times)

    @property
    def wanted(self) -> bool:
        """Whether a block of `deferred` should come to its end."""
        return self.signal is not None or self.time_is_up

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A signal raises Stopped at the end of the block, which asks `wanted` and leaves things in order; a second
        one at once."""
        self.waits = True
        try:
            yield
        finally:
            self.waits = False
        if self.signal is not None or self.elsewhere:
            raise self._stopped()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        wait = self.waits and self.signal is None
        self.signal = number
        if not wait:
            raise self._stopped()

    def _stopped(self) -> Stopped:
        number = self.signal or self.elsewhere
        return Stopped(f"stopped by {SIGNALS[number]}", 128 + number)


@contextmanager
def watch(minutes: float | None = None) -> Iterator[Watch]:
    """Within the block Ctrl-C and SIGTERM raise Stopped, but where it is `deferred`; time is up after `minutes`.

    Signals that the program was started to ignore, as by nohup, stay ignored.
    """
    watching = Watch(minutes)
    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    heard = [number for number, handler in earlier.items() if handler is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, watching.handle)
    try:
        yield watching
    finally:
        for number in heard:
            signal.signal(number, earlier[number])


def leave_process_group(_: int = 0) -> None:
    """For data workers: Ctrl-C and `timeout` signal the whole group, but only the main process should answer."""
    if hasattr(os, "setpgrp"):  # not on Windows
        os.setpgrp()


Item = TypeVar("Item")
Result = TypeVar("Result")

COLLECTIVE = ("gloo", "NCCL", "ProcessGroup")  # in messages of those that are plain RuntimeErrors
LONGEST = 365 * 24 * 60  # minutes that processes wait
_job = (0, 1)  # rank and number of processes, once they have met
_met = False


class Lost(Stopped):
    """Another process of the job has ended, or did not answer in time."""


def rank() -> int:
    """The number of this process in its job, from 0."""
    return _job[0]


def count() -> int:
    """The number of processes of this job."""
    return _job[1]


def is_first() -> bool:
    """True on rank 0, which writes and reports for all."""
    return _job[0] == 0


def launched() -> int:
    """The number of processes that torchrun has started for this job, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1)) if {"RANK", "MASTER_ADDR"} <= os.environ.keys() else 1


def local_rank() -> int:
    """The number of this process on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", 0)) if launched() > 1 else 0


def local_count() -> int:
    """The number of processes of this job on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if launched() > 1 else 1


def restarted() -> bool:
    """Whether torchrun has started this job again, after one of its processes failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def repeats_others() -> bool:
    """Whether another process of this machine prints the same messages, as all do until they have met."""
    return local_rank() > 0 and not _met


def follows() -> bool:
    """True on ranks above 0, whose messages rank 0 prints."""
    return launched() > 1 and int(os.environ["RANK"]) > 0


@contextmanager
def joined(minutes: float = 10, cuda: bool = False) -> Iterator[None]:
    """Within the block this process works together with the others that torchrun started, if any: gloo carries what
    they tell each other, and NCCL, with `cuda`, the gradients.

    A process that ends, or does not answer for so many `minutes`, ends the others: they raise Lost.
    """
    global _job, _met
    if launched() == 1:
        yield
        return
    import torch.distributed

    if not torch.distributed.is_available():
        raise InputError("this build of PyTorch has no torch.distributed; start one process, without torchrun")
    with answering():
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        own, size, timeout = int(os.environ["RANK"]), launched(), timedelta(minutes=min(minutes, LONGEST))
        served = own == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = torch.distributed.TCPStore(*address, size, served, timeout, wait_for_workers=False)
        fresh = torch.distributed.PrefixStore(_meet(store, own, size, minutes), store)
        torch.distributed.init_process_group(backend, store=fresh, rank=own, world_size=size, timeout=timeout)
    _job, _met = (own, size), True
    try:
        yield
        torch.distributed.destroy_process_group()  # not after an error, where it could wait for the others
    finally:
        _job = (0, 1)


def _meet(store: Any, own: int, size: int, minutes: float) -> str:
    """A name for this meeting of the processes, the same in all of them.

    When torchrun starts a job again, its store (PyTorch's TCPStore) still holds the addresses of processes that have
    ended. So each process leaves a new token, the first one publishes those it finds, and what it has published counts
    once every process has found its own token there.
    """
    token, deadline = secrets.token_hex(8), time.monotonic() + 60 * minutes
    store.set(f"token/{own}", token)
    while time.monotonic() < deadline:
        if own == 0:
            store.set("tokens", "-".join(store.get(f"token/{rank}").decode() for rank in range(size)))
        name = store.get("tokens").decode()
        if token in name:
            store.set(f"{name}/{own}", "found")
            if store.check([f"{name}/{rank}" for rank in range(size)]):
                return name
        time.sleep(0.02)
    raise Lost("the processes of this job did not find each other", 1)


@contextmanager
def answering() -> Iterator[None]:
    """Lost instead of the errors of PyTorch when another process has ended or keeps silent."""
    try:
        yield
    except RuntimeError as error:
        import torch.distributed

        text = str(error)
        distributed = isinstance(error, torch.distributed.DistError) or any(word in text for word in COLLECTIVE)
        if launched() == 1 or not distributed:
            raise
        raise Lost("another process of this job ended or did not answer", 1) from error


def gathered(value: Result) -> list[Result]:
    """The `value` of every process, by rank, in each of them."""
    if count() == 1:
        return [value]
    import torch.distributed

    values: list[Any] = [None] * count()
    with answering():
        torch.distributed.all_gather_object(values, value)
    return values


def average(tensor: Any) -> None:
    """Make a tensor of every process, in place, the mean of all of theirs."""
    if count() > 1:
        import torch.distributed

        with answering():
            torch.distributed.all_reduce(tensor)
        tensor.div_(count())


def agreed(work: Callable[[], Result]) -> Result:
    """The result of `work`, in which processes do not wait for each other. A mistake in one process ends all: one
    process raises the InputError, the others exit silently with its status."""
    mistake = outcome = None
    try:
        outcome = work()
    except InputError as error:
        mistake = error
    failed = gathered(mistake is not None)
    if not any(failed):
        return outcome
    if failed.index(True) == rank():
        raise mistake
    with suppress(Stopped):  # the other one has to say its line before torchrun sees that a process has ended
        gathered(None)
    raise SystemExit(2)


def from_first(work: Callable[[], Result]) -> Result:
    """The first process's result of `work`, in every process."""
    return gathered_from_first(agreed(work if is_first() else lambda: None))


def gathered_from_first(value: Result) -> Result:
    """The `value` of the first process, in each of them."""
    if count() == 1:
        return value
    import torch.distributed

    values = [value]
    with answering():
        torch.distributed.broadcast_object_list(values, 0)
    return values[0]


def share(items: Sequence[Item]) -> Sequence[Item]:
    """Those of `items` that are this process's."""
    return items[rank() :: count()]


def shared_out(items: Iterable[Item], work: Callable[[Item], Result]) -> Iterator[Result]:
    """Results of `work` on each item, in order, in every process; each process works on one of `count()` consecutive
    items. All processes draw `items`. An InputError ends all, as in `agreed`."""
    remaining = iter(items)
    while turn := list(islice(remaining, count())):
        yield from chain(*gathered(agreed(lambda turn=turn: [work(item) for item in share(turn)])))
