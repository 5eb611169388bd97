"""RCAN (Zhang et al., ECCV 2018): groups of residual blocks that weigh their channels by what the picture holds."""

from torch import Tensor, nn

from models.encoders.edsr import Residual, ResidualEncoder
from models.layers.convolution import Convolution
from models.registry import register
from utils.config import Count


class ChannelAttention(nn.Module):
    """Scales each channel by a factor in (0, 1) computed from the means of all channels (equations 6 to 9).

    (B, channels, h, w) in and out; the two convolutions have channels // reduction hidden units.
    """

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        hidden = max(1, channels // reduction)
        squeeze, excite = Convolution(channels, hidden, 1), Convolution(hidden, channels, 1)
        self.conv_du = nn.Sequential(squeeze, nn.ReLU(inplace=True), excite, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv_du(x.mean((2, 3), keepdim=True))


def attention_block(channels: int, reduction: int) -> Residual:
    """The paper's residual channel attention block, RCAB."""
    first, second = (Convolution(channels, channels, 3) for _ in range(2))
    return Residual(first, nn.ReLU(inplace=True), second, ChannelAttention(channels, reduction))


@register("rcan")
class RCAN(ResidualEncoder):
    """RCAN: `n_resgroups` groups of `n_resblocks` attention blocks and a convolution, each with a skip connection."""

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

        def group() -> Residual:
            blocks = [attention_block(n_feats, reduction) for _ in range(n_resblocks)]
            return Residual(*blocks, Convolution(n_feats, n_feats, 3))

        self.make_layers((group() for _ in range(n_resgroups)), n_feats, scale, no_upsampling)
