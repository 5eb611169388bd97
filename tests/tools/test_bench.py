"""tools.bench as users call it."""

import json
from pathlib import Path

import pytest
import torch

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


@pytest.mark.parametrize(("command", "figure"), [("encode", "encoder runs saved"), ("train", "step / encoder")])
def test_benchmarks_run(checkpoint, command, figure) -> None:
    call(bench, command, "--model", checkpoint, "--repeats", 1, "--input", "16x16", "--json", "b.json")
    report = json.loads(Path("b.json").read_text())
    assert figure in report["figures"]
    assert report["machine"]["torch"] == torch.__version__


def test_models_are_rendered_in_turn(checkpoint) -> None:
    options = ("--input", "12x12", "--scales", "2,3x1.5", "--repeats", 2, "--json", "b.json")
    options += ("--picture", ROOT / "load/samples/coffee.png")
    call(bench, "render", "--models", checkpoint, "bicubic", *options)
    figures = json.loads(Path("b.json").read_text())["figures"]
    stages = ("x3x1.5, s", "x2 / product", "field / product", "whole / encoder", "whole bfloat16 / whole")
    for figure in (*(f"small {stage}" for stage in stages), "bicubic warp / whole", "bicubic whole / Pillow"):
        assert 0 < figures[figure]["lowest"] <= figures[figure]["median"] <= figures[figure]["highest"]
    assert "bicubic x2 / product" not in figures  # filters have no networks to compare


def test_ratios_are_those_of_one_round() -> None:
    """The machine being twice as slow in one round changes no ratio."""
    figure = benchmarks.ratio([2.0, 4.0, 2.0], [1.0, 2.0, 1.0], factor=2.0)
    assert (figure.lowest, figure.median, figure.highest) == (1, 1, 1)
