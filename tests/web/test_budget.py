"""Memory stays under the budget, and what was used last stays longest."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tests.web.conftest import LONG
from web.budget import ENTRY, Budget, size_of
from web.settings import Refused


def test_least_recently_used_goes_first() -> None:
    budget = Budget(3 * (100 + ENTRY))
    for name in "abc":
        budget.keep((name,), bytes(100))
    budget.get(("a",))
    budget.keep(("d",), bytes(100))
    assert [name for name in "abcd" if budget.get((name,)) is not None] == ["a", "c", "d"]
    assert budget.used == budget.limit


def test_reserved_memory_is_made_free_and_given_back() -> None:
    budget = Budget(10_000)
    budget.keep(("a",), bytes(5000))
    with budget.working(6000):
        assert budget.get(("a",)) is None
        with pytest.raises(Refused, match="--memory"):
            budget.reserve(4001)
    assert budget.used == 0
    assert budget.highest == 6000


def test_what_is_too_large_is_refused_and_nothing_dropped_for_it() -> None:
    budget = Budget(10_000)
    budget.keep(("a",), bytes(5000))
    with pytest.raises(Refused) as refused:
        budget.keep(("b",), np.zeros(10_000, np.uint8))
    assert refused.value.status == 413
    assert budget.get(("a",)) is not None


def test_replaced_and_dropped_entries_are_not_counted() -> None:
    budget = Budget(10_000)
    for size in (3000, 1000):
        budget.keep(("a", "tile", 1), bytes(size))
    budget.keep(("a", "tile", 2), bytes(500))
    assert budget.used == 1500 + 2 * ENTRY
    budget.drop(("a",))
    assert budget.used == 0


def test_made_once_and_not_kept_when_large() -> None:
    budget, made = Budget(10_000), []
    for _ in range(2):
        budget.kept(("small",), lambda: made.append("small") or bytes(100), 0.5)
        budget.kept(("large",), lambda: made.append("large") or bytes(6000), 0.5)
    assert made == ["small", "large", "large"]


def test_who_wants_a_value_that_is_being_made_waits_for_it() -> None:
    budget, made, release = Budget(10_000), [], threading.Event()

    def make() -> bytes:
        made.append(1)
        release.wait(LONG)
        return bytes(100)

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(budget.kept, ("a",), make) for _ in range(3)]
        while budget._makers.get(("a",), (None, 0))[1] < 3:
            time.sleep(0.001)
        assert budget.kept(("b",), lambda: bytes(7)) == bytes(7)  # others are made meanwhile
        release.set()
        assert [future.result(LONG) for future in asked] == [bytes(100)] * 3
    assert made == [1]
    assert not budget._makers


def test_what_tensors_share_counts_once() -> None:
    whole = torch.zeros(10, 4)
    assert size_of([whole, whole[:2], (whole[3:], b"12"), {"a": torch.zeros(2)}]) == 160 + 2 + 1 + 8
