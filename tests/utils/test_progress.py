"""Reading and writing beside the work, and progress that is told, once, to who listens."""

import threading
from contextlib import nullcontext

import pytest

from tests.conftest import Listener
from utils import progress
from utils.errors import InputError
from utils.progress import pipelined


def test_next_is_read_and_last_is_written_during_the_work() -> None:
    read, written = [threading.Event() for _ in range(4)], [threading.Event() for _ in range(3)]

    def reading(item: int) -> int:
        read[item].set()
        return 10 * item

    def working(item: int, content: int) -> int:
        if item < 2:
            assert read[item + 1].wait(300)
        if item > 0:
            assert written[item - 1].wait(300)
        return content + 1

    def writing(item: int, result: int) -> str:
        written[item].set()
        return f"{item}: {result}"

    assert list(pipelined([0, 1, 2], reading, working, writing)) == [(0, "0: 1"), (1, "1: 11"), (2, "2: 21")]
    assert list(pipelined([], reading, working, writing)) == []


@pytest.mark.parametrize("error", [InputError, KeyError])
@pytest.mark.parametrize("step", ["read", "work", "write"])
def test_mistakes_stay_with_their_item_and_bugs_pass_once_all_is_written(step, error) -> None:
    outcomes = {}

    def fail_at(name: str, item: int) -> None:
        if name == step and item == 1:
            raise error(f"{name} {item}")
        if name == "write":
            outcomes[item] = "written"

    works = [lambda i, *_, name=name: fail_at(name, i) for name in ("read", "work", "write")]
    with nullcontext() if error is InputError else pytest.raises(KeyError):
        outcomes |= {item: str(failed) for item, failed in pipelined(range(3), *works) if failed}
    assert outcomes[0] == "written"
    assert error is KeyError or outcomes == {0: "written", 1: f"{step} 1", 2: "written"}


def test_stages_within_a_stage_are_not_told() -> None:
    listener = Listener()
    with progress.told_to(listener), progress.stage("painting", 10):
        progress.advance(4)
        with progress.stage("encoding", 3):
            assert not progress.is_told()
            progress.advance(3)
        assert progress.is_told()
        progress.advance(6)
    assert listener.stages == [("painting", 10)]
    assert listener.counted == [[4, 6]]
    progress.advance(1)
    with progress.stage("painting", 2):  # nobody listens
        progress.advance(2)
    assert (len(listener.stages), listener.counted) == (1, [[4, 6]])


def test_a_failure_ends_the_stage_and_the_listening() -> None:
    listener = Listener()
    with pytest.raises(KeyboardInterrupt), progress.told_to(listener), progress.stage("painting", 10):
        raise KeyboardInterrupt
    assert listener.ended == 1
    assert not progress.is_told()
    with progress.stage("painting", 10):
        assert not progress.is_told()
