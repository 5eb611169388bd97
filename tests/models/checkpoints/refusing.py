"""Files that are refused, and what they would do."""

import resource
from pathlib import Path

import pytest

from models.checkpoints.loading import load_upscaler
from utils.errors import InputError

TOO_LARGE = "than the checkpoint fills"


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path | str):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def refusal(path: Path) -> str:
    """The one line with which a checkpoint is refused; less than 200 MB are taken for that."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as caught:
        load_upscaler(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600
    return message
