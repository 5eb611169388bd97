"""Long work: progress events in stages and their listeners; reading and writing beside the work on many files."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TypeVar

from utils.errors import InputError

SLOW = 2  # seconds from which on bars are shown

Advance = Callable[[float], None]
Listener = Callable[[str, float], AbstractContextManager[Advance]]
"""Called with a stage's name and how much there is to do; the context's value is called with what is done."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_advance: ContextVar[Advance | None] = ContextVar("advance", default=None)


@contextmanager
def told_to(listener: Listener | None) -> Iterator[None]:
    """Within the block, stages are told to a listener, or to nobody."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def is_told() -> bool:
    """Whether somebody listens to the stage that is going on."""
    return _advance.get() is not None


@contextmanager
def stage(name: str, total: float) -> Iterator[None]:
    """A stage of so much work, which `advance` counts; stages within it are told to nobody and count for nothing."""
    listener = _listener.get()
    with told_to(None), listener(name, total) if listener else nullcontext() as advance:
        token = _advance.set(advance)
        try:
            yield
        finally:
            _advance.reset(token)


def advance(amount: float) -> None:
    """So much of the stage is done."""
    if counted := _advance.get():
        counted(amount)


Item = TypeVar("Item")
Content = TypeVar("Content")
Result = TypeVar("Result")
Written = TypeVar("Written")


def pipelined(
    items: Sequence[Item],
    read: Callable[[Item], Content],
    work: Callable[[Item, Content], Result],
    write: Callable[[Item, Result], Written],
) -> Iterator[tuple[Item, Written | InputError]]:
    """What `write` returns of each item, or the InputError that it failed with, in order.

    The next item is read and the one before is written while `work` is at one; only `work` runs in the caller's thread.
    What is being written is written to its end before any exception, Ctrl-C included, leaves this.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        upcoming = reader.submit(read, items[0]) if items else None
        before: tuple[Item, Future] | None = None
        for number, item in enumerate(items):
            content = upcoming
            upcoming = reader.submit(read, items[number + 1]) if number + 1 < len(items) else None
            outcome: Future = Future()
            try:
                outcome = writer.submit(write, item, work(item, content.result()))
            except InputError as error:
                outcome.set_exception(error)
            if before:
                yield _finished(*before)
            before = item, outcome
        if before:
            yield _finished(*before)


def _finished(item: Item, outcome: Future) -> tuple[Item, Written | InputError]:
    try:
        return item, outcome.result()
    except InputError as error:
        return item, error
