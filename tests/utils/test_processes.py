"""Processes of one job, and how work is stopped."""

import signal
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch

from tests.several import in_processes
from utils import cli, processes
from utils.errors import InputError
from utils.processes import Stopped, watch


def test_alone_nothing_is_shared(monkeypatch) -> None:
    assert (processes.rank(), processes.count(), processes.is_first(), processes.follows()) == (0, 1, True, False)
    assert processes.share("abc") == "abc"
    assert processes.gathered(5) == [5]
    drawn = []
    results = processes.shared_out((drawn.append(i) or i for i in range(3)), lambda item: item + 1)
    assert next(results) == 1
    assert drawn == [0]  # results come while the work goes on
    monkeypatch.setenv("WORLD_SIZE", "4")  # of some scheduler, without torchrun's other variables
    assert processes.launched() == 1


def test_processes_that_are_started_again_do_not_meet_those_that_ended() -> None:
    """The store still has the tokens of earlier processes, and the names that these had agreed on."""
    store = torch.distributed.HashStore()
    names = []

    def meet(own: int, meeting: dict[int, str]) -> None:
        meeting[own] = processes._meet(store, own, 2, 5)

    for _ in range(3):
        meeting: dict[int, str] = {}
        threads = [threading.Thread(target=meet, args=(own, meeting)) for own in (1, 0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert meeting[0] == meeting[1]
        names.append(meeting[0])
    assert len(set(names)) == 3


def test_a_meeting_that_others_miss_ends() -> None:
    store = torch.distributed.HashStore()
    store.set("tokens", "those-of-others")
    with pytest.raises(processes.Lost, match="find each other"):
        processes._meet(store, 1, 2, 0.001)


@pytest.mark.usefixtures("empty_folder")
def test_work_is_shared_in_order_and_mistakes_end_all() -> None:
    def work(item: int) -> tuple[int, int]:
        if item == 5:
            raise InputError("five is too much")
        return item, processes.rank()

    def main(arguments: list[str]) -> None:
        with processes.joined(1):
            for result in processes.shared_out(range(int(arguments[0])), work):
                sys.stderr.write(f"{result}\n")

    statuses, said = in_processes(2, SimpleNamespace(main=main), [3])
    assert statuses == [0, 0], said
    assert said == ["(0, 0)\n(1, 1)\n(2, 0)\n"] * 2
    statuses, said = in_processes(2, SimpleNamespace(main=main), [7])
    assert statuses == [2, 2], said
    assert [text.count("five is too much") for text in said] == [0, 1]
    assert said[0].splitlines()[-1] == "(3, 1)"


def stopped(work) -> Stopped:
    with pytest.raises(Stopped) as caught:
        work()
    return caught.value


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_ends_work_with_its_status(number, name, capsys) -> None:
    def work(_=None) -> None:
        with suppress(Exception), watch():  # what takes any error for a damaged file does not take it
            signal.raise_signal(number)

    assert (str(stopped(work)), stopped(work).status) == (f"stopped by {name}", 128 + number)
    with pytest.raises(SystemExit) as ended:
        cli.run(work)
    assert ended.value.code == 128 + number
    assert capsys.readouterr().err.endswith(f": stopped by {name}\n")


def test_deferred_work_ends_in_order_and_a_second_signal_does_not_wait() -> None:
    done = []

    def work() -> None:
        with watch() as stop:
            with stop.deferred():
                assert not stop.wanted
                signal.raise_signal(signal.SIGTERM)
                assert stop.wanted
                done.append("saved")
            done.append("never")

    def impatient() -> None:
        with watch() as stop, stop.deferred():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("never")

    stopped(work)
    stopped(impatient)
    assert done == ["saved"]


def test_handlers_are_given_back_and_ignored_signals_stay_ignored() -> None:
    earlier = signal.getsignal(signal.SIGINT)
    with watch():
        assert signal.getsignal(signal.SIGINT) is not earlier
    assert signal.getsignal(signal.SIGINT) is earlier
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with watch():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, earlier)


def test_time_that_is_up_is_no_signal() -> None:
    with watch(minutes=-1) as stop:
        with stop.deferred():
            assert stop.wanted
        assert stop.time_is_up
    with watch() as stop:
        assert not stop.wanted
