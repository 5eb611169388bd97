"""tools.bench as users call it; costs: the papers' figures, and PyTorch's own counter."""

import json
import multiprocessing
from pathlib import Path

import pytest
import torch

import models
from models.decoders.lte import PixelLinear
from models.layers.mlp import LMMLP
from models.lerf.networks import SRUnit
from models.native import backends
from tests.commands import ROOT, call
from tests.registered import DECODERS, small_spec
from tools.bench import __main__ as bench
from tools.bench import compare, costs, figures
from utils.config import load_config
from utils.geometry.grids import Grid

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


def test_size_of_a_folder_and_of_a_filter(tmp_path) -> None:
    for name, content in (("a", b"123"), ("b", b"4567")):
        (tmp_path / name).write_bytes(content)
    assert (compare.size_on_disk(tmp_path), compare.size_on_disk(None)) == (7, 0)


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


def build(config: str, device: str = "meta") -> models.ContinuousModel:
    with torch.device(device):
        return models.make(load_config(ROOT / f"configs/{config}.yaml")["model"]).eval()


@pytest.mark.parametrize(
    ("config", "published"),
    [
        ("train-original/train_edsr-baseline-liif", (297, 1187, 2672, 4750)),
        ("train-lmf/train_edsr-baseline-lmliif", (10.2, 14.4, 21.5, 31.4)),
        ("train-original/train_edsr-baseline-lte", (185, 693, 1541, 2726)),
        ("train-lmf/train_edsr-baseline-lmlte", (16.1, 21.5, 30.5, 43.1)),
        ("train-lmf/train_edsr-baseline-lmciaosr", (86.6, 92.8, 103.0, 117.3)),
    ],
)
def test_multiply_adds_of_the_paper(config, published) -> None:
    model = build(config)
    for scale, expected in zip((2, 4, 6, 8), published, strict=True):
        macs = costs.decoder_macs(model, (180, 320), (180 * scale, 320 * scale))
        assert macs / 2**30 == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("config", "published"),
    [
        ("train-original/train_edsr-baseline-liif", 347),
        ("train-lmf/train_edsr-baseline-lmliif", 166),
        ("train-original/train_edsr-baseline-lte", 494),
        ("train-lmf/train_edsr-baseline-lmlte", 271),
        ("train-original/train_edsr-baseline-ciaosr", 1429),
        ("train-lmf/train_edsr-baseline-lmciaosr", 735),
    ],
)
def test_decoder_parameters_of_the_paper(config, published) -> None:
    assert costs.parameter_counts(build(config))[1] / 1000 == pytest.approx(published, abs=0.6)


@pytest.mark.parametrize("name", [*DECODERS, "lerf-l", "lerf-g", "lerf-net"])
def test_every_network_is_counted_as_pytorch_counts_it(name) -> None:
    with torch.device("meta"):
        model = models.make(small_spec(name) if name in DECODERS else {"name": name})
    for network, _ in model.network_runs(1, 1):
        if isinstance(network, int):
            continue
        # Modulation multiplies, too, but no matrices
        layers = network.layers if isinstance(network, LMMLP) else network
        first = next(layer for layer in layers.modules() if hasattr(layer, "weight"))
        on_maps = isinstance(first, torch.nn.Conv2d) and not isinstance(first, PixelLinear)
        rows = (1, first.weight.shape[1], 5, 7) if on_maps else (35, first.weight.shape[1])
        rows = (4, 35) if isinstance(network, SRUnit) else rows
        assert costs.counted_macs(layers, torch.empty(rows, device="meta")) == 35 * costs.macs_per_run(network)


@pytest.mark.parametrize("name", ["lmliif", "lmlte"])
def test_what_runs_here_is_what_the_formula_counts(name) -> None:
    """Sampling every position: the same multiply-adds but for the cell's and offsets' own few columns."""
    model, size, output_size = build(f"train-lmf/train_edsr-baseline-{name}", "cpu"), (12, 10), (24, 30)
    coord = Grid.of_size(output_size).coord().flatten(0, 1)[None]
    with backends.using("torch"):  # the counter does not see into native routines
        whole = costs.counted_macs(model, torch.rand(1, 3, *size), coord, torch.full((1, 2), 0.1))
    expected = costs.encoder_macs(model, size) + costs.decoder_macs(model, size, output_size)
    assert whole == pytest.approx(expected, rel=0.02)


def test_non_local_attention_is_counted_apart() -> None:
    """146.3 G of 2^30 at 320x180, which LMF's figures leave out, whatever the scale."""
    for config in ("train-original/train_edsr-baseline-ciaosr", "train-lmf/train_edsr-baseline-lmciaosr"):
        assert costs.attention_macs(build(config), (180, 320)) / 2**30 == pytest.approx(146.3, abs=0.1)
    assert costs.attention_macs(build("train-lmf/train_edsr-baseline-lmlte"), (180, 320)) == 0


def test_attention_is_counted() -> None:
    """CiaoSR's own: four keys of 576 a position; LM-CiaoSR's: four of 256 an LR pixel; MetaSR's: a 576x3 filter."""
    products = {"original/train_edsr-baseline-ciaosr": (576, 4 * 7), "lmf/train_edsr-baseline-lmciaosr": (256, 4 * 5)}
    products["original/train_edsr-baseline-metasr"] = (1728, 7)
    for config, product in products.items():
        assert product in build(f"train-{config}").network_runs(5, 7)
