"""EDSR (Lim et al., CVPRW 2017): residual blocks without normalisation, with or without an upsampling tail."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from models.layers.convolution import Convolution, in_turn
from models.registry import register
from utils.config import Count
from utils.errors import InputError

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
TAILS = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}  # factors of the pixel shuffles of a tail, by its scale


class Residual(nn.Module):
    """x + res_scale * body(x), where the body applies `layers` in turn."""

    def __init__(self, *layers: nn.Module, res_scale: float = 1):
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.body, x, x, self.res_scale)


def upsampler(channels: int, scale: int, in_channels: int | None = None, kernel_size: int = 3) -> nn.Sequential:
    """Convolutions and pixel shuffles that enlarge a feature map by 2, 3, 4 or 8 (Shi et al., CVPR 2016).

    (B, in_channels, h, w) -> (B, channels, scale*h, scale*w); `in_channels` defaults to `channels`. Raises InputError
    for other scales.
    """
    if scale not in TAILS:
        known = "2, 3, 4 or 8, or no_upsampling: true"
        raise InputError(f"an upsampling tail of scale {scale} does not exist; choose {known}")
    layers: list[nn.Module] = []
    given = in_channels or channels
    for factor in TAILS[scale]:
        layers += [Convolution(given, channels * factor**2, kernel_size), nn.PixelShuffle(factor)]
        given = channels
    return nn.Sequential(*layers)


class ResidualEncoder(nn.Module):
    """(B, 3, h, w) normalised -> (B, n_feats, h, w) features, or with its tail (B, 3, scale*h, scale*w)."""

    def make_layers(self, blocks: Iterable[nn.Module], n_feats: int, scale: int, no_upsampling: bool) -> None:
        """A convolution, residual `blocks` with another one and a skip connection around them, and the tail."""
        self.head = nn.Sequential(Convolution(3, n_feats, 3))
        self.body = nn.Sequential(*blocks, Convolution(n_feats, n_feats, 3))
        self.upsamples = not no_upsampling
        self.out_dim = 3 if self.upsamples else n_feats
        self.tail = nn.Sequential(upsampler(n_feats, scale), Convolution(n_feats, 3, 3)) if self.upsamples else None

    def forward(self, image: Tensor) -> Tensor:
        head = self.head(image)
        features = in_turn(self.body, head, head)
        return features if self.tail is None else self.tail(features)


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
