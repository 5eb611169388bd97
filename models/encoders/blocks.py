"""Residual blocks, the encoders made of them, and the upsampling tail of fixed-scale networks."""

from collections.abc import Iterable

from torch import Tensor, nn

from models.layers.convolution import Convolution, in_turn
from utils.errors import InputError

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
