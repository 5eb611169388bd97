"""bench.py as users call it."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import bench
import models
from tests.commands import ROOT, call
from utils.checkpoints import save_checkpoint

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


@pytest.mark.slow
def test_lerf_against_pillow(capsys) -> None:
    torch.manual_seed(0)
    spec = {"name": "lerf-lut", "args": {"kernel": "linear", "modes": "s"}}
    save_checkpoint("tables.pth", {"model": {**spec, "sd": models.make(spec).state_dict()}})
    settings = ("--picture", ROOT / "load/samples/coffee.png", "--input", "16x9", "--size", "40x30", "--repeats", 1)
    call(bench, "lerf", "--models", "tables.pth", *settings, "--json", "b.json")
    figures = json.loads(Path("b.json").read_text())["figures"]
    assert {"Pillow, s", "tables whole / Pillow", "tables warp / whole", "tables PyTorch / whole"} <= figures.keys()
