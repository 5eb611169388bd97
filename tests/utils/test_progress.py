"""Progress that is told, once, to who listens."""

import pytest

from tests.conftest import Listener
from utils import progress


def test_stages_within_a_stage_are_not_told() -> None:
    listener = Listener()
    with progress.told_to(listener), progress.stage("painting", 10):
        progress.advance(4)
        with progress.inner(), progress.stage("encoding", 3):
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
