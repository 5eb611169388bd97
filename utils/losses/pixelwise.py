"""Losses that compare every value with its target alone."""

from torch import nn

from utils.losses import register


@register("l1")
def l1() -> nn.Module:
    return nn.L1Loss()


@register("mse")
def mse() -> nn.Module:
    return nn.MSELoss()
