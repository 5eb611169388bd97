"""Progress events of long work, in stages, and their listeners."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

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
    """A stage of so much work, which `advance` counts; stages within it are told to nobody."""
    listener = _listener.get()
    if listener is None:
        yield
        return
    with told_to(None), listener(name, total) as advance:
        token = _advance.set(advance)
        try:
            yield
        finally:
            _advance.reset(token)


@contextmanager
def inner() -> Iterator[None]:
    """Within the block, nothing is counted: of work that is counted as a whole by what is around it."""
    token = _advance.set(None)
    try:
        yield
    finally:
        _advance.reset(token)


def advance(amount: float) -> None:
    """So much of the stage is done."""
    if counted := _advance.get():
        counted(amount)
