"""Calling the programs as users do."""

from pathlib import Path

import pytest

from utils import cli

ROOT = Path(__file__).parents[1]


def call(program, *arguments) -> None:
    program.main([str(argument) for argument in arguments])


def failure(capsys, program, *arguments) -> list[str]:
    """Call a program that must end with status 2; returns its lines on stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda _: call(program, *arguments))
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()


def mistake(capsys, program, *arguments) -> str:
    """Call a program that must end in one line on stderr and status 2; returns the line."""
    (line,) = failure(capsys, program, *arguments)
    return line
