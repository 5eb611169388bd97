"""EDSR (Lim et al., CVPRW 2017): residual blocks without normalisation, with or without an upsampling tail."""

import torch
from torch import nn

from models.encoders.blocks import Residual, ResidualEncoder
from models.layers.convolution import Convolution
from models.registry import register
from utils.config import Count

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


def mean_shift(sign: int, rgb_range: float) -> nn.Conv2d:
    """A fixed 1x1 convolution that adds or subtracts the DIV2K mean."""
    shift = nn.Conv2d(3, 3, 1)
    shift.requires_grad_(False)
    shift.weight.copy_(torch.eye(3)[:, :, None, None])
    shift.bias.copy_(sign * rgb_range * torch.tensor(DIV2K_MEAN))
    return shift


def residual_block(channels: int, res_scale: float, slope: float) -> Residual:
    first, second = (Convolution(channels, channels, 3) for _ in range(2))
    activation = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
    return Residual(first, activation, second, res_scale=res_scale)


@register("edsr-baseline")
class EDSR(ResidualEncoder):
    """EDSR-baseline, by default 16 blocks of 64 channels. `slope`: of values below zero after each block's first
    convolution; 0, as in the paper, is ReLU, whose units die at high learning rates (docs/trials.md).

    `sub_mean` and `add_mean` only exist because published state dicts contain them: the forward pass does not use
    them, since pictures come normalised.
    """

    def __init__(
        self,
        n_resblocks: Count = 16,
        n_feats: Count = 64,
        res_scale: float = 1,
        scale: int = 2,
        no_upsampling: bool = False,
        rgb_range: float = 1,
        slope: float = 0,
    ):
        super().__init__()
        self.sub_mean = mean_shift(-1, rgb_range)
        self.add_mean = mean_shift(1, rgb_range)
        blocks = (residual_block(n_feats, res_scale, slope) for _ in range(n_resblocks))
        self.make_layers(blocks, n_feats, scale, no_upsampling)
        self.reach = 2 + 2 * n_resblocks if no_upsampling else None  # one pixel per consecutive 3x3 convolution


@register("edsr")
def edsr(
    n_resblocks: Count = 32,
    n_feats: Count = 256,
    res_scale: float = 0.1,
    scale: int = 2,
    no_upsampling: bool = False,
    rgb_range: float = 1,
) -> EDSR:
    """The full-size EDSR of the paper: `edsr-baseline` with other defaults."""
    return EDSR(n_resblocks, n_feats, res_scale, scale, no_upsampling, rgb_range)
