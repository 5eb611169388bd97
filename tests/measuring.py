"""Calls of test.py with a config t.yaml in the current folder."""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

import test
from tests.commands import call, mistake


def write_config(config: dict) -> None:
    """The config t.yaml in the current folder."""
    Path("t.yaml").write_text(yaml.safe_dump(config))


def write(sets: dict, scales: Sequence = (2,)) -> None:
    """A config of data sets at scales."""
    write_config({"scales": list(scales), "datasets": sets})


def measure(*options) -> None:
    call(test, "--config", "t.yaml", "--model", *options)


def refused(capsys, *options) -> str:
    return mistake(capsys, test, "--config", "t.yaml", "--model", *options)


def results(name: str = "r.json") -> dict:
    return json.loads(Path(name).read_text())
