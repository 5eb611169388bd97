"""Losses that compare each query with its target."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.losses import register
from utils.config import Positive


@register("l1")
def l1() -> nn.Module:
    return nn.L1Loss()


@register("mse")
def mse() -> nn.Module:
    return nn.MSELoss()


@register("charbonnier")
class Charbonnier(nn.Module):
    """Mean of sqrt(d^2 + eps^2): L1 that is smooth around 0 (Lai et al. 2017, equation 2)."""

    def __init__(self, eps: Positive = 1e-3):
        super().__init__()
        self.eps = eps

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        return torch.sqrt((values - targets) ** 2 + self.eps**2).mean()


@register("psnr")
class NegativePSNR(nn.Module):
    """-PSNR in dB, the mean over the items of a batch (Chen et al. 2021, HINet): an MSE that weighs an item the less
    the larger its error is, as a mean of PSNRs over pictures does. `eps` is added to each item's MSE, so that flat
    items do not dominate."""

    def __init__(self, eps: Positive = 1e-4):
        super().__init__()
        self.eps = eps

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        errors = (values - targets).square().flatten(1).mean(1)
        return 10 * torch.log10(errors + self.eps).mean()


@register("chroma")
def make_chroma() -> Callable[[Tensor, Tensor], Tensor]:
    return chroma


def chroma(values: Tensor, targets: Tensor) -> Tensor:
    """Mean distance of each channel's error from the mean error of its pixel.

    It complements L1, which has no gradient against a false hue where brightness errs more, as at every sharp edge.
    """
    error = values - targets
    return (error - error.mean(-1, keepdim=True)).abs().mean()
