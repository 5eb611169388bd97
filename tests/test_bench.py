"""bench.py as users call it."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import bench
from tests.commands import ROOT, call

pytestmark = pytest.mark.usefixtures("empty_folder")


def test_cost_table_and_plot(capsys) -> None:
    config = str(ROOT / "configs/train-lmf/train_edsr-baseline-lmliif.yaml")
    call(bench, "cost", "--configs", config, "--scales", "2,3x1.5", "--json", "c.json", "--plot", "c.png")
    assert "165,651" in capsys.readouterr().out
    assert list(json.loads(Path("c.json").read_text())["models"]["edsr-baseline-lmliif"]["decoder_macs"]) == [
        "2",
        "3x1.5",
    ]
    assert Image.open("c.png").size == (960, 600)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "figure"),
    [("encode", "encoder runs saved"), ("train", "step / encoder"), ("memory", "peak beyond imports, MB")],
)
def test_benchmarks_run(checkpoint, command, figure) -> None:
    call(bench, command, "--model", checkpoint, "--input", "16x16", "--repeats", 1, "--json", "b.json")
    report = json.loads(Path("b.json").read_text())
    assert figure in report["figures"]
    assert report["machine"]["torch"] == torch.__version__
