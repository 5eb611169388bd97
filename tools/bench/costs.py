"""Parameters and multiply-adds of models, counted by formula.

Each decoder says in `network_runs` which networks it calls and how often, counted as in its paper; the multiply-adds of
a call follow from the layers. The programs compute less where a first layer is evaluated once per LR pixel.
"""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models import ContinuousModel
from models.native import backends
from utils.geometry.grids import Size


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
    """Multiply-adds of everything after the encoder for one (h, w) picture rendered at (H, W)."""
    pixels, queries = size[0] * size[1], output_size[0] * output_size[1]
    total = sum(macs_per_run(network) * times for network, times in model.network_runs(pixels, queries))
    attention = getattr(model, "cs_attn", None)
    if attention is not None:
        features = torch.empty(1, model.encoder.out_dim, *size, device=next(model.parameters()).device)
        total += counted_macs(attention, features)
    return total


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
