"""Threads that compute: the most urgent request first, none that nobody waits for."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from heapq import heapify, heappop, heappush
from threading import Condition, Thread
from typing import Any, TypeVar

import torch

from web.settings import Refused

Result = TypeVar("Result")
Priority = tuple[int, ...]
TILE, WARP, ENCODE, SCORE, EXPORT = range(5)  # first numbers of priorities: the lowest is the most urgent
MOST_WAITING = 4096
MOST_THREADS = 8


class Worker:
    """Runs calls in order of priority, those of one priority in order of arrival.

    Tiles run side by side, as many as there are `threads` (by default as many as PyTorch computes with), which they
    share; of all else, which takes long and much memory, one call runs at a time.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._waiting: list[tuple[Priority, int, Future, Callable[[], Any]]] = []
        self._numbers = itertools.count()
        self._changed = Condition()
        self._stopped = False
        self._processors = threads or torch.get_num_threads()
        self._running = self._long = 0
        self._threads = [
            Thread(target=self._work, name=f"renderer-{number}", daemon=True)
            for number in range(min(self._processors, MOST_THREADS))
        ]
        for thread in self._threads:
            thread.start()

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
        self, priority: Priority, call: Callable[[], Result], gone: Callable[[], Awaitable[object]]
    ) -> Result:
        """The result of a call; given up, when it has not begun, as soon as `gone`, which waits until the client is,
        ends."""
        future = self.submit(priority, call)
        waited, left = asyncio.wrap_future(future), asyncio.ensure_future(gone())
        try:
            await asyncio.wait([waited, left], return_when=asyncio.FIRST_COMPLETED)
            if not waited.done() and future.cancel():
                with suppress(asyncio.CancelledError):
                    await waited
                raise Refused("the client left", 499)
            return await waited
        finally:
            left.cancel()
            future.cancel()  # where this was cancelled itself

    def stop(self) -> None:
        """End when the current calls have; what waits is cancelled."""
        with self._changed:
            self._stopped = True
            for *_, future, _ in self._waiting:
                future.cancel()
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._may_begin())
                if self._stopped:
                    return
                (kind, *_), _, future, call = heappop(self._waiting)
                is_long = kind != TILE
                self._running += 1
                self._long += is_long
                tiles = sum(entry[0][0] == TILE for entry in self._waiting[: len(self._threads)])
                beside = min(self._running + tiles, len(self._threads))
            torch.set_num_threads(max(1, self._processors // beside))  # of this thread alone
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
            with self._changed:
                self._running -= 1
                self._long -= is_long
                self._changed.notify()

    def _may_begin(self) -> bool:
        """Whether there is a call, and not another long one before it."""
        return bool(self._waiting) and (self._waiting[0][0][0] == TILE or not self._long)
