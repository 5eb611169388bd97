"""One process at a time: the lock ends with its process, however that ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT
from utils.errors import InputError
from utils.files import LOCK, locked

HOLDER = """
import sys, time
from pathlib import Path
from utils.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of the folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def take(folder: Path) -> None:
    with locked(folder):
        pass


def test_a_held_folder_is_refused_until_it_is_given_back(tmp_path, holder) -> None:
    with pytest.raises(InputError, match=f"{tmp_path} is in use by process {holder.pid}"):
        take(tmp_path)
    assert (tmp_path / LOCK).exists()  # the holder's
    holder.communicate()
    take(tmp_path)
    assert not (tmp_path / LOCK).exists()


def test_the_lock_of_a_killed_process_does_not_block(tmp_path, holder) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).exists()
    take(tmp_path)
