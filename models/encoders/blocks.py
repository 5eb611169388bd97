"""Convolutions that keep the size of a feature map, and the upsampling tail that the fixed-scale encoders share."""

import math

from torch import Tensor, nn

from models.layers.convolution import Convolution, in_turn
from utils.errors import InputError


def conv(in_channels: int, out_channels: int, kernel_size: int) -> Convolution:
    """A convolution with zero padding, (B, in_channels, h, w) -> (B, out_channels, h, w); `kernel_size` is odd."""
    return Convolution(in_channels, out_channels, kernel_size)


def conv3x3(in_channels: int, out_channels: int) -> Convolution:
    return conv(in_channels, out_channels, 3)


class Residual(nn.Module):
    """x + res_scale * body(x), where the body applies `layers` in turn."""

    def __init__(self, *layers: nn.Module, res_scale: float = 1):
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.body, x, x, self.res_scale)


def upsampler(channels: int, scale: int, in_channels: int | None = None, kernel_size: int = 3) -> nn.Sequential:
    """Convolutions and pixel shuffles that enlarge a feature map by 3 or a power of 2 (Shi et al., CVPR 2016).

    (B, in_channels, h, w) -> (B, channels, scale*h, scale*w); `in_channels` defaults to `channels`. Raises InputError
    for other scales than 2, 3, 4 and 8.
    """
    if scale == 3:
        factors = [3]
    elif scale in (2, 4, 8):
        factors = [2] * int(math.log2(scale))
    else:
        raise InputError(
            f"an upsampling tail of scale {scale} does not exist; choose 2, 3, 4 or 8, or no_upsampling: true"
        )
    layers: list[nn.Module] = []
    given = in_channels or channels
    for factor in factors:
        layers += [conv(given, channels * factor**2, kernel_size), nn.PixelShuffle(factor)]
        given = channels
    return nn.Sequential(*layers)
