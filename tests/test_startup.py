"""Help and mistakes in arguments are answered before PyTorch is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT

ENDED = """
import importlib, sys
from utils import cli
program = importlib.import_module(sys.argv[1])
try:
    cli.run(lambda _: program.main(sys.argv[2:]))
except SystemExit as ended:
    print(ended.code, "torch" in sys.modules)
"""
CONFIG = str(ROOT / "configs/cmsr/init-train.yaml")
PICTURE = str(ROOT / "load/samples/coffee.png")


@pytest.mark.parametrize(
    ("program", "arguments", "status", "words"),
    [
        ("demo", ["--help"], 0, "catmull-rom"),
        ("test", ["--help"], 0, "photo-s"),
        ("train", ["--help"], 0, "--max-minutes"),
        ("init_cmsr", ["--help"], 0, "curvature"),
        ("app", ["--help"], 0, "--token"),
        ("app", ["--host", "0.0.0.0"], 2, "--token"),
        ("app", ["--port", "70000"], 2, "65535"),
        ("demo", ["--input", PICTURE, "--scale", "0"], 2, "--scale"),
        ("demo", ["--input", PICTURE, "--scale", "2", "--backend", "nativ"], 2, "'torch'"),
        ("demo", ["--input", PICTURE], 2, "one of --scale"),
        ("demo", ["--input", "missing.png", "--scale", "2"], 2, "missing.png"),
        ("demo", ["--input", PICTURE, "--scale", "2", "--model", "bicubik"], 2, "did you mean 'bicubic'"),
        ("demo", ["--input", PICTURE, "--scale", "2", "--model", "bicubic", "--upsampler", "x.pth"], 2, "x.pth"),
        ("test", ["--config", CONFIG, "--model", "missing.pth"], 2, "missing.pth"),
        ("test", ["--again", "missing.json"], 2, "missing.json"),
        ("train", ["--config", "missing.yaml"], 2, "missing.yaml"),
        ("train", ["--config", CONFIG, "--threads", "0"], 2, "--threads"),
        ("init_cmsr", ["--config", CONFIG, "--model", "missing.pth", "--save_path", "t.yaml"], 2, "missing.pth"),
    ],
)
def test_no_torch_before_arguments_are_right(tmp_path: Path, program, arguments, status, words) -> None:
    command = [sys.executable, "-c", ENDED, program, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    *said, last = ended.stdout.splitlines()
    assert last == f"{status} False", ended.stderr
    assert words in "\n".join([*said, ended.stderr])
