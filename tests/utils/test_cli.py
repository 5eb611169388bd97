"""What is said of options that do not exist."""

import os
import subprocess
import sys

import pytest

import demo
from tests.commands import mistake
from tools.bench import __main__ as bench
from utils import cli
from utils.files import PROJECT


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


def test_a_package_that_is_missing_is_one_line_and_a_module_of_ours_a_bug() -> None:
    said = cli.explained(ModuleNotFoundError("No module named 'torch'", name="torch.nn"))
    assert said == "the Python package torch is not installed; pip install -r requirements.txt"
    assert cli.explained(ModuleNotFoundError("No module named 'models.x'", name="models.x")) is None
    assert cli.explained(ModuleNotFoundError("No module named 'train'", name="train")) is None


@pytest.mark.parametrize("lines", [1, 100_000])  # found at the end, and on the way
def test_a_reader_that_has_gone_ends_a_program_silently(lines: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = f"from utils import cli; cli.run(lambda _: [print('line') for _ in range({lines})] and None)"
    ended = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")
