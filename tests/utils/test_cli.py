"""What programs say of mistakes in options, and of what memory, disks and files refuse; a bug keeps its traceback."""

import json
import os
import subprocess
import sys

import pytest

import demo
from tests.commands import ROOT, mistake
from tools.bench import __main__ as bench
from utils import cli, system

CALLS = r"""
import importlib, json, sys
from utils import cli
for program, options in json.loads(sys.argv[1]):
    print("\0"); print("\0", file=sys.stderr)
    try:
        cli.run(lambda _: importlib.import_module(program).main(options))
    except SystemExit as ended:
        print("\1", ended.code, "torch" in sys.modules)
"""
CONFIG = str(ROOT / "configs/cmsr/init-train.yaml")
ENLARGE = ["--input", str(ROOT / "load/samples/coffee.png"), "--scale", "2"]


def called(calls: list[tuple[str, list[str]]], folder) -> list[tuple[str, list[str]]]:
    """What programs print, called one after the other in a process of their own, and of each how it ended: its status
    and whether PyTorch is imported."""
    command = [sys.executable, "-c", CALLS, json.dumps(calls)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={"PYTHONPATH": str(ROOT)})
    outputs, errors = (stream.split("\0\n")[1:] for stream in (done.stdout, done.stderr))
    assert len(outputs) == len(calls), done.stderr
    parts = [output.partition("\1 ") for output in outputs]
    return [(said + error, last.split()) for (said, _, last), error in zip(parts, errors, strict=True)]


def test_no_torch_before_arguments_are_right(tmp_path) -> None:
    expected = [
        ("demo", ["--help"], "0", "catmull-rom"),
        ("test", ["--help"], "0", "photo-s"),
        ("train", ["--help"], "0", "--max-minutes"),
        ("init_cmsr", ["--help"], "0", "curvature"),
        ("app", ["--help"], "0", "--token"),
        ("app", ["--host", "0.0.0.0"], "2", "--token"),
        ("app", ["--port", "70000"], "2", "65535"),
        ("demo", [*ENLARGE, "--scale", "0"], "2", "--scale"),
        ("demo", [*ENLARGE, "--backend", "nativ"], "2", "'torch'"),
        ("demo", ENLARGE[:2], "2", "one of --scale"),
        ("demo", [*ENLARGE, "--input", "missing.png"], "2", "missing.png"),
        ("demo", [*ENLARGE, "--model", "bicubik"], "2", "did you mean 'bicubic'"),
        ("demo", [*ENLARGE, "--model", "bicubic", "--upsampler", "x.pth"], "2", "x.pth"),
        ("test", ["--config", CONFIG, "--model", "missing.pth"], "2", "missing.pth"),
        ("test", ["--again", "missing.json"], "2", "missing.json"),
        ("train", ["--config", "missing.yaml"], "2", "missing.yaml"),
        ("train", ["--config", CONFIG, "--threads", "0"], "2", "--threads"),
        ("init_cmsr", ["--config", CONFIG, "--model", "missing.pth", "--save_path", "t.yaml"], "2", "missing.pth"),
    ]
    found = called([(program, options) for program, options, _, _ in expected], tmp_path)
    for (program, options, status, words), (said, ended) in zip(expected, found, strict=True):
        assert ended == [status, "False"], (program, options, said)
        assert words in said
        assert status == "0" or said.count("\n") == 1, said


def test_size_beyond_the_memory_is_one_line(pictures, checkpoint, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(system, "available_memory", lambda: 6 << 30)
    common = ("--input", pictures / "a.png", "--output", tmp_path / "o.jpg", "--size", "30000x30000", "--device", "cpu")
    for model, fast in (("bicubic", True), (checkpoint, False)):
        assert "memory" in mistake(capsys, demo, *common, "--model", model, "--fast", fast)
    assert not (tmp_path / "o.jpg").exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory"),
        (OSError(28, "No space left on device", "/full/disk"), "/full/disk: No space left"),
        (RuntimeError("bug"), None),
    ],
)
def test_what_is_not_a_bug_is_one_line(capsys, monkeypatch, error, words) -> None:
    def fail(*arguments):
        raise error

    monkeypatch.setattr(demo, "parse_arguments", fail)
    if words:
        assert words in mistake(capsys, demo)
    else:
        with pytest.raises(RuntimeError, match="bug"):
            mistake(capsys, demo)


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        (demo, ["--inptu", "x.png"], ["--inptu", "did you mean '--input'?"]),
        (demo, ["--input", "x.png", "--scal=2"], ["--scal;", "did you mean '--scale'?"]),
        (bench, ["render", "--pictrue", "x.png"], ["--pictrue", "did you mean '--picture'?"]),
        (bench, ["cost", "--pictures", "x"], ["--pictures"]),  # another subcommand's
    ],
)
def test_unknown_options_are_named_with_the_nearest(capsys, program, arguments, words) -> None:
    line = mistake(capsys, program, *arguments)
    assert all(word in line for word in words)


def test_a_value_is_not_taken_for_an_option() -> None:
    parser = cli.Parser(prog="x")
    cli.add_options(parser, "set")
    parser.add_argument("--long-side")
    assert parser.parse_args(["--set", "long_side=2", "--set", "a=1"]).set == ["long_side=2", "a=1"]
    assert parser.parse_args(["--set", "long_side=2", "a=-1"]).set == ["long_side=2", "a=-1"]
    assert parser.parse_args(["--long_side=3"]).long_side == "3"
    assert parser.parse_args(["--long-side", "-large"]).long_side == "-large"


@pytest.mark.parametrize(
    "arguments", [["--input", "", *ENLARGE[2:]], [*ENLARGE, "--output", ""], [*ENLARGE, "--output="]]
)
def test_unset_variables_of_a_shell_are_no_values(capsys, arguments) -> None:
    """An empty name would be the folder of the call, whose pictures are all enlarged."""
    assert "empty" in mistake(capsys, demo, *arguments)


def test_a_package_that_is_missing_is_one_line_and_a_module_of_ours_a_bug() -> None:
    said = cli.explained(ModuleNotFoundError("No module named 'torch'", name="torch.nn"))
    assert said == "the Python package torch is not installed; pip install -r requirements.txt"
    for name in ("models.x", "train"):
        assert cli.explained(ModuleNotFoundError(f"No module named '{name}'", name=name)) is None


@pytest.mark.parametrize("lines", [1, 100_000])  # found at the end, and on the way
def test_a_reader_that_has_gone_ends_a_program_silently(lines: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = f"from utils import cli; cli.run(lambda _: [print('line') for _ in range({lines})] and None)"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")
