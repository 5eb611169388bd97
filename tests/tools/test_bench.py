"""tools.bench as users call it."""

import json
import multiprocessing
from pathlib import Path

import pytest
import torch

from tests.commands import ROOT, call
from tools.bench import __main__ as bench
from tools.bench import compare, figures

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


def test_training_steps_are_measured(checkpoint) -> None:
    call(bench, "train", "--model", checkpoint, "--repeats", 1, "--input", "16x16", "--json", "b.json")
    report = json.loads(Path("b.json").read_text())
    assert "step / encoder" in report["figures"]
    assert report["machine"]["torch"] == torch.__version__


def test_models_are_rendered_in_turn(checkpoint) -> None:
    options = ("--input", "12x12", "--scales", "2,3x1.5", "--repeats", 2, "--json", "b.json")
    options += ("--picture", ROOT / "load/samples/coffee.png")
    call(bench, "render", "--models", checkpoint, "bicubic", *options)
    found = json.loads(Path("b.json").read_text())["figures"]
    stages = ("x3x1.5, s", "x2 / product", "field / product", "whole / encoder", "whole bfloat16 / whole")
    for figure in (*(f"small {stage}" for stage in stages), "bicubic warp / whole", "bicubic whole / Pillow"):
        assert 0 < found[figure]["lowest"] <= found[figure]["median"] <= found[figure]["highest"]
    assert "bicubic x2 / product" not in found  # filters have no networks to compare


def test_ratios_are_those_of_one_round() -> None:
    """The machine being twice as slow in one round changes no ratio."""
    figure = figures.ratio([2.0, 4.0, 2.0], [1.0, 2.0, 1.0], factor=2.0)
    assert (figure.lowest, figure.median, figure.highest) == (1, 1, 1)


@pytest.mark.slow
def test_models_are_compared_and_written(monkeypatch, pictures, checkpoint, tmp_path, capsys) -> None:
    context = multiprocessing.get_context("fork")  # what measures memory need not import everything anew here
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)
    config = tmp_path / "t.yaml"
    config.write_text(f"{{protocol: benchmark, scales: [2], datasets: {{N: {{hr: {pictures}}}}}}}")
    monkeypatch.setattr(compare, "SETS", {"Set5": ((str(config), (2,)),), "samples": ((str(config), (3,)),)})
    call(
        bench, "compare", "--models", "bicubic", checkpoint, "--picture", pictures / "a.png", "--input", "16x12",
        "--size", "32x24", "--repeats", 1, "--scales", "2,3", "--plot", tmp_path / "p.png",
        "--json", tmp_path / "c.json",
    )  # fmt: skip
    table = capsys.readouterr().out
    assert "16x12 -> 32x24" in table
    assert {line.count("|") for line in table.splitlines() if line.startswith("|")} == {7}
    for group, scale in (("Set5", "x2"), ("samples", "x3")):
        assert f"| {group} | {scale} | encode, s" in table
    scores = json.loads((tmp_path / "c.json").read_text())["models"]["bicubic"]["scores"]["Set5"]["x2"]
    assert f"| bicubic | {scores['psnr']:.2f} / {scores['ssim']:.4f} | " in table
    assert (tmp_path / "p.png").stat().st_size > 5000
