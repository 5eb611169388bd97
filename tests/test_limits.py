"""What memory, disks and files refuse is one line; a bug keeps its traceback."""

import json
import subprocess
import sys

import pytest

import demo
from tests.commands import ROOT, mistake

LIMITED = """
import json, resource, sys, demo
from utils import cli
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
for options in json.loads(sys.argv[1]):
    try:
        cli.run(lambda _: demo.main(options))
    except SystemExit as ended:
        print(ended.code)
"""


def test_size_beyond_the_memory_is_one_line(pictures, checkpoint, tmp_path) -> None:
    common = ("--input", pictures / "a.png", "--output", tmp_path / "o.jpg", "--size", "30000x30000", "--device", "cpu")
    calls = [
        [*map(str, common), "--model", str(model), "--fast", fast]
        for model, fast in (("bicubic", "True"), (checkpoint, "False"))
    ]
    command = [sys.executable, "-c", LIMITED, json.dumps(calls)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "2\n" * len(calls), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(calls)
    assert all("memory" in line for line in lines)
    assert not (tmp_path / "o.jpg").exists()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_errors_of_memory_and_files_are_one_line(capsys, monkeypatch, error) -> None:
    def fail(*arguments):
        raise error

    monkeypatch.setattr(demo, "parse_arguments", fail)
    assert "memory" in mistake(capsys, demo)
    error = OSError(28, "No space left on device", "/full/disk")
    assert "/full/disk: No space left" in mistake(capsys, demo)


def test_bugs_keep_their_traceback(capsys, monkeypatch) -> None:
    def fail(*arguments):
        raise RuntimeError("bug")

    monkeypatch.setattr(demo, "parse_arguments", fail)
    with pytest.raises(RuntimeError, match="bug"):
        mistake(capsys, demo)
