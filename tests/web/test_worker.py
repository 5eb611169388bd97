"""Urgent work first, none that nobody waits for."""

import asyncio
import threading

import pytest
import torch

import web.worker
from tests.web.conftest import LONG
from web.settings import Refused
from web.worker import Worker


@pytest.fixture
def held():
    """A worker at a call that ends when it is released, so that others queue behind it."""
    worker, begun, release = Worker(1), threading.Event(), threading.Event()
    worker.submit((0,), lambda: begun.set() or release.wait(LONG))
    assert begun.wait(LONG)
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
        future.result(LONG)
    assert done == ["coarse", "fine", "fine too", "export"]


def test_what_a_client_left_is_not_computed(held) -> None:
    worker, release = held
    done = []

    async def left() -> None:
        with pytest.raises(Refused) as refused:
            await worker.run((0, 1), lambda: done.append("left"), lambda: asyncio.sleep(0))
        assert refused.value.status == 499
        asked = asyncio.create_task(worker.run((0, 1), lambda: done.append("cancelled"), asyncio.Event().wait))
        await asyncio.sleep(0)
        asked.cancel()

    asyncio.run(left())
    release.set()
    worker.submit((9,), lambda: None).result(LONG)
    assert not done


def test_errors_reach_who_asked_and_the_worker_goes_on(held) -> None:
    worker, release = held
    release.set()
    with pytest.raises(ZeroDivisionError):
        worker.submit((0,), lambda: 1 / 0).result(LONG)
    assert worker.submit((0,), lambda: 7).result(LONG) == 7


def test_too_many_are_refused(held, monkeypatch) -> None:
    worker, _ = held
    monkeypatch.setattr(web.worker, "MOST_WAITING", 3)
    waiting = [worker.submit((1,), lambda: None) for _ in range(3)]
    with pytest.raises(Refused) as refused:
        worker.submit((0,), lambda: None)
    assert refused.value.status == 429
    waiting[1].cancel()
    worker.submit((0,), lambda: None)


def test_tiles_run_side_by_side_and_of_long_work_one_call() -> None:
    worker, together, release, running, most = Worker(3), threading.Barrier(3), threading.Event(), [], []

    def tile() -> int:
        together.wait(LONG)  # all three run, or this fails
        return torch.get_num_threads()

    def long() -> None:
        running.append(1)
        most.append(len(running))
        release.wait(LONG)
        running.pop()

    try:
        before = torch.get_num_threads()
        assert [future.result(LONG) for future in [worker.submit((0, 3), tile) for _ in range(3)]][2] == 1
        kept = [worker.submit((4,), long) for _ in range(3)]
        assert worker.submit((0, 3), lambda: "tile").result(LONG) == "tile"  # while another works and waits
        release.set()
        for future in kept:
            future.result(LONG)
        assert most == [1, 1, 1]
        assert worker.submit((0, 3), torch.get_num_threads).result(LONG) == 3
        assert torch.get_num_threads() == before
    finally:
        release.set()
        worker.stop()
