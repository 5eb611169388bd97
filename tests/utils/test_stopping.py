"""Signals end work at once, or at the end of what must not be interrupted."""

import signal

import pytest

from utils import cli
from utils.processes import Stopped, watch


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_ends_work_with_its_status(number, name) -> None:
    with pytest.raises(Stopped, match=f"stopped by {name}") as stopped, watch():
        signal.raise_signal(number)
    assert stopped.value.status == 128 + number


def test_deferred_work_ends_in_order() -> None:
    done = []

    def work() -> None:
        with watch() as stop:
            with stop.deferred():
                assert not stop.wanted
                signal.raise_signal(signal.SIGTERM)
                assert stop.wanted
                done.append("saved")
            done.append("never")

    with pytest.raises(Stopped):
        work()
    assert done == ["saved"]


def test_a_second_signal_does_not_wait() -> None:
    def work() -> None:
        with watch() as stop, stop.deferred():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("the second signal was deferred")

    with pytest.raises(Stopped):
        work()


def test_no_handler_of_damaged_files_takes_it() -> None:
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except Exception:
            pytest.fail("caught as if a file were damaged")

    with pytest.raises(Stopped), watch():
        work()


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


def test_programs_print_one_line(capsys) -> None:
    def work(_) -> None:
        raise Stopped("stopped by SIGTERM; the same command goes on", 143)

    with pytest.raises(SystemExit) as ended:
        cli.run(work)
    assert ended.value.code == 143
    assert capsys.readouterr().err.endswith("stopped by SIGTERM; the same command goes on\n")
