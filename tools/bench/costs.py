"""Parameters and multiply-adds of models, counted by formula.

Each decoder says in `network_runs` which networks it calls and how often, counted as in its paper; the multiply-adds of
a call follow from the layers. The programs compute less where a first layer is evaluated once per LR pixel.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import models
from models import ContinuousModel
from models.decoders import on_encoder
from models.native import backends
from tools.bench.figures import short_name
from utils import cli
from utils.config import find_configs, load_config, require
from utils.geometry.grids import Size
from utils.geometry.sizes import output_size, scale_text

COUNTED = ("configs/train-lmf/train_*.yaml", "configs/train-original/train_*.yaml")
G = 10**9  # the papers' tables count 2^30 as one G


def parameter_counts(model: ContinuousModel) -> tuple[int, int]:
    """Parameters of the encoder (none in models without) and of everything else."""
    encoder = sum(parameter.numel() for parameter in encoder_of(model).parameters())
    return encoder, sum(parameter.numel() for parameter in model.parameters()) - encoder


def encoder_macs(model: ContinuousModel, size: Size) -> int:
    """Multiply-adds of encoding one (h, w) picture, as PyTorch counts them; free for a model on the meta device."""
    return counted_macs(encoder_of(model), torch.empty(1, 3, *size, device=next(model.parameters()).device))


def encoder_of(model: ContinuousModel) -> nn.Module:
    """The model's encoder, or the identity."""
    return getattr(model, "encoder", nn.Identity())


def decoder_macs(model: ContinuousModel, size: Size, output_size: Size) -> int:
    """Multiply-adds of everything after the encoder for one (h, w) picture rendered at (H, W), without the non-local
    attention of CiaoSR and LM-CiaoSR, which LMF's tables leave out."""
    pixels, queries = size[0] * size[1], output_size[0] * output_size[1]
    return sum(macs_per_run(network) * times for network, times in model.network_runs(pixels, queries))


def attention_macs(model: ContinuousModel, size: Size) -> int:
    """Multiply-adds of the non-local attention on the features of one (h, w) picture; none in other models."""
    attention = getattr(model, "cs_attn", None)
    if attention is None:
        return 0
    features = torch.empty(1, model.encoder.out_dim, *size, device=next(model.parameters()).device)
    return counted_macs(attention, features)


def macs_per_run(network: nn.Module | int) -> int:
    """Multiply-adds of a network of Linear layers or convolutions for one vector or one pixel."""
    if isinstance(network, int):
        return network
    return sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d))


def counted_macs(module: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-adds of a call, by PyTorch's own counter."""
    with torch.no_grad(), backends.using("torch"), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2


def add_commands(commands: Any, common: cli.Parser) -> None:
    help = "parameters and multiply-adds of models, by formula"
    cost = commands.add_parser("cost", parents=[common], help=help, description=help)
    cost.add_argument("--configs", nargs="+", help="training configs (default: one row a config, and every decoder)")
    cost.add_argument("--input", type=cli.size, default="320x180", metavar="WxH", help="input size in pixels")
    cost.add_argument("--scales", type=cli.scales, default="2,4,6,8", help="scales to render")
    cost.set_defaults(run=report)


def models_to_count(configs: Sequence[str] | None) -> dict[str, Mapping[str, Any]]:
    """{label: spec} of the models of training configs; without any, those of LMF and its originals, and each decoder
    that has no config, with its default arguments on EDSR-baseline."""
    paths = configs or [str(path) for pattern in COUNTED for path in find_configs(pattern)]
    specs = {short_name(path): require(load_config(path), "model", path) for path in paths}
    if configs is None:
        encoder = {"name": "edsr-baseline", "args": {"no_upsampling": True}}
        configured = {spec["name"] for spec in specs.values()}
        lacking = [name for name in models.names("decoders") if name not in configured]
        specs |= {f"edsr-baseline-{name}": on_encoder(name, encoder) for name in lacking}
    return specs


def report(arguments: Any) -> dict[str, Any]:
    """Print and plot parameters and multiply-adds; no picture is computed, so any size takes seconds."""
    labels, (height, width), rows = [scale_text(scale) for scale in arguments.scales], arguments.input, {}
    print(f"parameters, and multiply-adds in units of 10^9 for an input of {width}x{height}: decoders with their")
    print("non-local attention / without it (the papers' tables leave it out, and their unit is 2^30 = 1.074 x 10^9)")
    print(f"{'':28}{'encoder':>12}{'decoder':>12}{'encoder':>10}" + "".join(f"{'x' + label:>18}" for label in labels))
    for label, spec in models_to_count(arguments.configs).items():
        with torch.device("meta"):
            model = models.make(spec).eval()
        (encoder, decoder), attention = parameter_counts(model), attention_macs(model, arguments.input)
        macs = [decoder_macs(model, arguments.input, output_size(arguments.input, s)) for s in arguments.scales]
        rows[label] = {
            "model": spec["name"],
            "encoder_parameters": encoder,
            "decoder_parameters": decoder,
            "encoder_macs": encoder_macs(model, arguments.input),
            "attention_macs": attention,
            "decoder_macs": {name: count + attention for name, count in zip(labels, macs, strict=True)},
            "decoder_macs_without_attention": dict(zip(labels, macs, strict=True)),
        }
        both = (f"{(n + attention) / G:.1f}" + (f" / {n / G:.1f}" if attention else "") for n in macs)
        cells = "".join(f"{text:>18}" for text in both)
        print(f"{label:28}{encoder:>12,}{decoder:>12,}{rows[label]['encoder_macs'] / G:>10.1f}{cells}")
    return {"input": f"{width}x{height}", "unit": 1, "models": rows}
