"""What ends long work before its end: a signal, the time that is up, numbers that are not finite."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

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
