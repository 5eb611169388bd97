"""RCAN (Zhang et al., ECCV 2018): groups of residual blocks that weigh their channels by what the picture holds."""

from torch import Tensor, nn

from models.encoders.blocks import Residual, conv, conv3x3, upsampler
from models.layers.convolution import in_turn
from models.registry import register
from utils.config import Count


class ChannelAttention(nn.Module):
    """Scales each channel by a factor in (0, 1) computed from the means of all channels (equations 6 to 9).

    (B, channels, h, w) in and out; the two convolutions have channels // reduction hidden units.
    """

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.conv_du = nn.Sequential(
            conv(channels, hidden, 1), nn.ReLU(inplace=True), conv(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv_du(x.mean((2, 3), keepdim=True))


def attention_block(channels: int, reduction: int) -> Residual:
    """The paper's residual channel attention block, RCAB."""
    return Residual(
        conv3x3(channels, channels),
        nn.ReLU(inplace=True),
        conv3x3(channels, channels),
        ChannelAttention(channels, reduction),
    )


@register("rcan")
class RCAN(nn.Module):
    """(B, 3, h, w) normalised -> (B, n_feats, h, w) features, or with its tail (B, 3, scale*h, scale*w)."""

    def __init__(
        self,
        n_resgroups: Count = 10,
        n_resblocks: Count = 20,
        n_feats: Count = 64,
        reduction: Count = 16,
        scale: int = 2,
        no_upsampling: bool = False,
    ):
        super().__init__()
        self.head = nn.Sequential(conv3x3(3, n_feats))
        groups = []
        for _ in range(n_resgroups):
            blocks = [attention_block(n_feats, reduction) for _ in range(n_resblocks)]
            groups.append(Residual(*blocks, conv3x3(n_feats, n_feats)))
        self.body = nn.Sequential(*groups, conv3x3(n_feats, n_feats))
        self.upsamples = not no_upsampling
        self.out_dim = n_feats if no_upsampling else 3
        self.tail = None if no_upsampling else nn.Sequential(upsampler(n_feats, scale), conv3x3(n_feats, 3))

    def forward(self, image: Tensor) -> Tensor:
        head = self.head(image)
        features = in_turn(self.body, head, head)
        return features if self.tail is None else self.tail(features)
