"""Losses that compare every value with its target alone."""

from torch import nn

from utils.losses import register

register("l1")(nn.L1Loss)
register("mse")(nn.MSELoss)
