"""Reading and writing beside the work."""

import threading

import pytest

from utils.errors import InputError
from utils.pipelines import pipelined


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


@pytest.mark.parametrize("step", ["read", "work", "write"])
def test_mistakes_stay_with_their_item(step) -> None:
    def fail_at(name: str, item: int) -> None:
        if name == step and item == 1:
            raise InputError(f"{name} {item}")

    outcomes = pipelined(
        range(3), lambda i: fail_at("read", i), lambda i, _: fail_at("work", i), lambda i, _: fail_at("write", i) or i
    )
    assert [(item, str(outcome)) for item, outcome in outcomes] == [(0, "0"), (1, f"{step} 1"), (2, "2")]


@pytest.mark.parametrize("step", ["read", "work", "write"])
def test_bugs_and_ctrl_c_pass_once_all_is_written(step) -> None:
    written = []

    def fail_at(name: str, item: int) -> None:
        if name == step and item == 1:
            raise KeyError(item)

    with pytest.raises(KeyError):
        list(
            pipelined(
                range(3),
                lambda i: fail_at("read", i),
                lambda i, _: fail_at("work", i),
                lambda i, _: fail_at("write", i) or written.append(i),
            )
        )
    assert written[0] == 0
