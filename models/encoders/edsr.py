"""EDSR (Lim et al., CVPRW 2017): residual blocks without normalisation, with or without an upsampling tail."""

import torch
from torch import Tensor, nn

from models.encoders.blocks import Residual, conv3x3, upsampler
from models.layers.convolution import in_turn
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


def residual_block(channels: int, res_scale: float) -> Residual:
    first, second = (conv3x3(channels, channels) for _ in range(2))
    return Residual(first, nn.ReLU(inplace=True), second, res_scale=res_scale)


@register("edsr-baseline")
class EDSR(nn.Module):
    """(B, 3, h, w) normalised -> (B, n_feats, h, w) features, or with its tail (B, 3, scale*h, scale*w).

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
    ):
        super().__init__()
        self.sub_mean = mean_shift(-1, rgb_range)
        self.add_mean = mean_shift(1, rgb_range)
        self.head = nn.Sequential(conv3x3(3, n_feats))
        blocks = [residual_block(n_feats, res_scale) for _ in range(n_resblocks)]
        self.body = nn.Sequential(*blocks, conv3x3(n_feats, n_feats))
        self.upsamples = not no_upsampling
        self.out_dim = n_feats if no_upsampling else 3
        self.reach = 2 + 2 * n_resblocks if no_upsampling else None  # one pixel per consecutive 3x3 convolution
        self.tail = None if no_upsampling else nn.Sequential(upsampler(n_feats, scale), conv3x3(n_feats, 3))

    def forward(self, image: Tensor) -> Tensor:
        head = self.head(image)
        features = in_turn(self.body, head, head)
        return features if self.tail is None else self.tail(features)


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
