"""One thread that computes: the most urgent request first, none that nobody waits for."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from heapq import heapify, heappop, heappush
from threading import Condition, Thread
from typing import Any, TypeVar

from web.errors import Refused

Result = TypeVar("Result")
Priority = tuple[int, ...]
TILE, WARP, ENCODE, SCORE, EXPORT = range(5)  # first numbers of priorities: the lowest is the most urgent
MOST_WAITING = 4096
CHECK_SECONDS = 0.05  # between two looks at whether the client is still there


class Worker:
    """Runs calls one at a time, in order of priority, those of one priority in order of arrival."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Priority, int, Future, Callable[[], Any]]] = []
        self._numbers = itertools.count()
        self._changed = Condition()
        self._stopped = False
        self._thread = Thread(target=self._work, name="renderer", daemon=True)
        self._thread.start()

    def submit(self, priority: Priority, call: Callable[[], Result]) -> "Future[Result]":
        """Queue a call; a future that can be cancelled until it runs. Refused when too many wait."""
        future: Future[Result] = Future()
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting = [entry for entry in self._waiting if not entry[2].cancelled()]
                heapify(self._waiting)
            if self._stopped or len(self._waiting) >= MOST_WAITING:
                raise Refused("too many requests wait; try again in some seconds", 429)
            heappush(self._waiting, (priority, next(self._numbers), future, call))
            self._changed.notify()
        return future

    async def run(
        self, priority: Priority, call: Callable[[], Result], is_gone: Callable[[], Awaitable[bool]]
    ) -> Result:
        """The result of a call; given up, when it has not begun, as soon as the client `is_gone`."""
        future = self.submit(priority, call)
        waited = asyncio.wrap_future(future)
        while not (await asyncio.wait([waited], timeout=CHECK_SECONDS))[0]:
            if await is_gone() and future.cancel():
                with suppress(asyncio.CancelledError):
                    await waited
                raise Refused("the client left", 499)
        return waited.result()

    def stop(self) -> None:
        """End when the current call has; what waits is cancelled."""
        with self._changed:
            self._stopped = True
            for *_, future, _ in self._waiting:
                future.cancel()
            self._waiting.clear()
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if self._stopped:
                    return
                *_, future, call = heappop(self._waiting)
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
