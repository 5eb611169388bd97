"""What memory, disks and files refuse is one line; a bug keeps its traceback."""

import subprocess
import sys

import pytest

import demo
from tests.commands import ROOT, mistake

LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))"


@pytest.mark.parametrize("model", ["bicubic", "small"])
@pytest.mark.parametrize("fast", ["True", "False"])
def test_size_beyond_the_memory_is_one_line(pictures, checkpoint, tmp_path, model, fast) -> None:
    model = checkpoint if model == "small" else model
    program = f"{LIMITED}; import demo; from utils import cli; cli.run(demo.main)"
    options = ["--input", pictures / "a.png", "--output", tmp_path / "o.jpg", "--model", model, "--fast", fast]
    command = [sys.executable, "-c", program, *map(str, options), "--size", "30000x30000", "--device", "cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "memory" in line
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
