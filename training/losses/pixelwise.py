"""Losses that compare every value with its target alone."""

import torch
from torch import Tensor, nn

from training.losses import register


@register("l1")
def l1() -> nn.Module:
    return nn.L1Loss()


@register("mse")
def mse() -> nn.Module:
    return nn.MSELoss()


@register("charbonnier")
class Charbonnier(nn.Module):
    """Mean of sqrt(d^2 + eps^2): L1 that is smooth around 0 (Lai et al. 2017, equation 2)."""

    def __init__(self, eps: float = 1e-3):
        super().__init__()
        self.eps = eps

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        return torch.sqrt((values - targets) ** 2 + self.eps**2).mean()
