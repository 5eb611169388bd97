"""What models cost: parameters and multiply-adds, counted by formula.

Each decoder says which networks it runs how often, as its paper counts (`ContinuousModel.network_runs`); what a run
costs follows from the layers. What runs here is less where a first layer is computed once per LR pixel."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models import ContinuousModel
from utils.geometry.grids import Size


def parameter_counts(model: ContinuousModel) -> tuple[int, int]:
    """Parameters of the encoder (none in models without) and of everything else."""
    encoder = sum(parameter.numel() for parameter in encoder_of(model).parameters())
    return encoder, sum(parameter.numel() for parameter in model.parameters()) - encoder


def encoder_macs(model: ContinuousModel, size: Size) -> int:
    """Multiply-adds of encoding one (h, w) picture, as PyTorch counts them; a model on the meta device computes
    nothing."""
    return counted_macs(encoder_of(model), torch.empty(1, 3, *size, device=next(model.parameters()).device))


def encoder_of(model: ContinuousModel) -> nn.Module:
    """The model's encoder, or one that does nothing."""
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
    """Multiply-adds of one run of a network of Linear layers or convolutions, on one row or for one pixel."""
    if isinstance(network, int):
        return network
    return sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d))


def counted_macs(module: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-adds of a call by PyTorch's own counter."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2
