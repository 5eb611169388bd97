"""Work on many files, with reading and writing beside it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from utils.errors import InputError

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
