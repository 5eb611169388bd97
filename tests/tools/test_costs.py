"""Costs: the papers' figures, and PyTorch's own counter."""

from pathlib import Path

import pytest
import torch

import models
from models.decoders.lte import PixelLinear
from models.layers.mlp import LMMLP
from models.lerf.networks import SRUnit
from models.native import backends
from tests.registered import DECODERS, small_spec
from tools.bench import costs
from utils.config import load_config
from utils.geometry.grids import Grid

CONFIGS = Path(__file__).parents[2] / "configs"


def build(config: str, device: str = "meta") -> models.ContinuousModel:
    with torch.device(device):
        return models.make(load_config(CONFIGS / f"{config}.yaml")["model"]).eval()


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
