"""What models cost: parameters and multiply-adds, counted by formula.

The decoders' formulas are those of the papers: each network, and how often it runs for P LR pixels and Q positions.
What runs here is less where a first layer is computed once per LR pixel."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models import ContinuousModel
from models.decoders.ciaosr import CiaoSR
from models.decoders.fixed_scale import FixedScale
from models.decoders.liif import LIIF
from models.decoders.lmciaosr import LMCiaoSR
from models.decoders.lmliif import LMLIIF
from models.decoders.lmlte import LMLTE
from models.decoders.lte import LTE, LTEFast
from models.decoders.metasr import MetaSR
from utils.coords import Size

Runs = list[tuple[nn.Module | None, int]]


def parameter_counts(model: ContinuousModel) -> tuple[int, int]:
    """Parameters of the encoder and of the decoder."""
    encoder = sum(parameter.numel() for parameter in model.encoder.parameters())
    return encoder, sum(parameter.numel() for parameter in model.parameters()) - encoder


def encoder_macs(model: ContinuousModel, size: Size) -> int:
    """Multiply-adds of encoding one (h, w) picture, as PyTorch counts them, without computing anything."""
    return counted_macs(model.encoder, torch.empty(1, 3, *size, device="meta"))


def decoder_macs(model: ContinuousModel, size: Size, output_size: Size) -> int:
    """Multiply-adds of everything after the encoder for one (h, w) picture rendered at (H, W)."""
    pixels, queries = size[0] * size[1], output_size[0] * output_size[1]
    total = sum(macs_per_run(network) * times for network, times in network_runs(model, pixels, queries))
    if isinstance(model, MetaSR):
        total += 3 * model.latent_dim * queries  # the predicted filters
    if isinstance(model, CiaoSR | LMCiaoSR):
        attended = queries if isinstance(model, CiaoSR) else pixels
        total += 4 * attended * model.imnet_k.layers[-1].out_features  # query times keys
        if model.cs_attn is not None:
            features = torch.empty(1, model.encoder.out_dim, *size, device="meta")
            total += counted_macs(model.cs_attn, features)
    return total


def network_runs(model: ContinuousModel, pixels: int, queries: int) -> Runs:
    """The decoder's networks and how often each runs."""
    corners = queries * (4 if getattr(model, "local_ensemble", False) else 1)
    match model:
        case FixedScale():
            return []
        case LIIF():
            return [(model.imnet, corners)]
        case LTE():
            return [(model.coef, pixels), (model.freq, pixels), (model.phase, corners), (model.imnet, corners)]
        case LTEFast():
            return [(model.coef, pixels), (model.freq, pixels), (model.phase, corners), (model.layers, corners)]
        case MetaSR():
            return [(model.imnet, queries)]
        case CiaoSR():
            return [(model.imnet_k, 4 * queries), (model.imnet_v, 4 * queries), (model.imnet_q, queries)]
        case LMLIIF():
            return [(model.hypernet, pixels), (model.imnet, corners)]
        case LMLTE():
            waves = [(model.coef, pixels), (model.freq, pixels), (model.phase, pixels), (model.hypernet, pixels)]
            return [*waves, (model.imphase, corners), (model.imnet, corners)]
        case LMCiaoSR():
            attention = [(model.prenet_q, pixels), (model.imnet_k, 4 * pixels), (model.imnet_v, 4 * pixels)]
            return [*attention, (model.hypernet_q, pixels), (model.imnet, corners)]
    raise NotImplementedError(f"no formula for the cost of {type(model).__name__}")


def macs_per_run(network: nn.Module | None) -> int:
    """Multiply-adds of one run of a network of Linear layers or convolutions, on one row or for one pixel."""
    layers = [] if network is None else network.modules()
    return sum(layer.weight.numel() for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d))


def counted_macs(module: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-adds of a call by PyTorch's own counter."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2
