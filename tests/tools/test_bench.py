"""tools.bench as users call it."""

import json
from pathlib import Path

import pytest
import torch

import models
from models.checkpoints.loading import save_checkpoint
from tests.commands import ROOT, call
from tools.bench import __main__ as bench
from tools.bench import figures as benchmarks

pytestmark = pytest.mark.usefixtures("empty_folder")


def test_cost_table(capsys) -> None:
    configs = [ROOT / f"configs/train-lmf/train_edsr-baseline-{name}.yaml" for name in ("lmliif", "lmciaosr")]
    call(bench, "cost", "--configs", *configs, "--scales", "2,3x1.5", "--json", "c.json")
    out = capsys.readouterr().out
    assert "165,651" in out
    assert "10^9" in out
    models = json.loads(Path("c.json").read_text())["models"]
    assert list(models["edsr-baseline-lmliif"]["decoder_macs"]) == ["2", "3x1.5"]
    of_attention = models["edsr-baseline-lmciaosr"]
    with_, without = of_attention["decoder_macs"]["2"], of_attention["decoder_macs_without_attention"]["2"]
    assert with_ - without == of_attention["attention_macs"]
    assert f"{with_ / 1e9:.1f} / {without / 1e9:.1f}" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "figure"),
    [
        ("encode", "encoder runs saved"),
        ("train", "step / encoder"),
        ("end-to-end", "whole bfloat16 / float32"),
    ],
)
def test_benchmarks_run(checkpoint, command, figure) -> None:
    options = ("--model", checkpoint, "--repeats", 1)
    if command == "end-to-end":
        options += ("--size", "64x48")
    call(bench, command, *options, "--input", "16x16", "--json", "b.json")
    report = json.loads(Path("b.json").read_text())
    assert figure in report["figures"]
    assert report["machine"]["torch"] == torch.__version__


def test_rendering_at_several_scales(checkpoint, capsys) -> None:
    options = ("--input", "8x6", "--scales", "2,3x1.5,4", "--repeats", 2, "--json", "b.json")
    call(bench, "render", "--models", checkpoint, "bicubic", *options)
    figures = json.loads(Path("b.json").read_text())["figures"]
    for figure in (
        "small x3x1.5, s",
        "small x2 / product",
        "small x4 / x2",
        "small latent MLP / product",
        "bicubic x4, s",
    ):
        assert 0 < figures[figure]["lowest"] <= figures[figure]["median"] <= figures[figure]["highest"]
    assert "bicubic x4 / product" not in figures  # filters have no networks to compare


def test_ratios_are_those_of_one_round() -> None:
    """The machine being twice as slow in one round changes no ratio."""
    figure = benchmarks.ratio([2.0, 4.0, 2.0], [1.0, 2.0, 1.0], factor=2.0)
    assert (figure.lowest, figure.median, figure.highest) == (1, 1, 1)


@pytest.mark.slow
def test_lerf_against_pillow(capsys) -> None:
    torch.manual_seed(0)
    spec = {"name": "lerf-lut", "args": {"kernel": "linear", "modes": "s"}}
    save_checkpoint("tables.pth", {"model": {**spec, "sd": models.make(spec).state_dict()}})
    settings = ("--picture", ROOT / "load/samples/coffee.png", "--input", "16x9", "--size", "40x30", "--repeats", 1)
    call(bench, "lerf", "--models", "tables.pth", *settings, "--json", "b.json")
    figures = json.loads(Path("b.json").read_text())["figures"]
    assert {"Pillow, s", "tables whole / Pillow", "tables warp / whole", "tables PyTorch / whole"} <= figures.keys()
