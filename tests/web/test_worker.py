"""Urgent work first, none that nobody waits for."""

import asyncio
import threading

import pytest

import web.worker
from web.errors import Refused
from web.worker import Worker


@pytest.fixture
def held():
    """A worker at a call that ends when it is released, so that others queue behind it."""
    worker, begun, release = Worker(), threading.Event(), threading.Event()
    worker.submit((0,), lambda: begun.set() or release.wait(20))
    assert begun.wait(20)
    yield worker, release
    release.set()
    worker.stop()


def test_coarse_before_fine_before_exports_and_in_order(held) -> None:
    worker, release = held
    done = []
    futures = [
        worker.submit(priority, lambda name=name: done.append(name))
        for name, priority in (("export", (4,)), ("fine", (0, 5)), ("coarse", (0, -1)), ("fine too", (0, 5)))
    ]
    release.set()
    for future in futures:
        future.result(20)
    assert done == ["coarse", "fine", "fine too", "export"]


def test_what_a_client_left_is_not_computed(held) -> None:
    worker, release = held
    done = []

    async def gone() -> bool:
        return True

    with pytest.raises(Refused) as refused:
        asyncio.run(worker.run((0, 1), lambda: done.append("left"), gone))
    assert refused.value.status == 499
    release.set()
    worker.submit((9,), lambda: None).result(20)
    assert not done


def test_errors_reach_who_asked_and_the_worker_goes_on(held) -> None:
    worker, release = held
    release.set()
    with pytest.raises(ZeroDivisionError):
        worker.submit((0,), lambda: 1 / 0).result(20)
    assert worker.submit((0,), lambda: 7).result(20) == 7


def test_too_many_are_refused(held, monkeypatch) -> None:
    worker, _ = held
    monkeypatch.setattr(web.worker, "MOST_WAITING", 3)
    waiting = [worker.submit((1,), lambda: None) for _ in range(3)]
    with pytest.raises(Refused) as refused:
        worker.submit((0,), lambda: None)
    assert refused.value.status == 429
    waiting[1].cancel()
    worker.submit((0,), lambda: None)
