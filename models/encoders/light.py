"""Encoders of about the cost of a small EDSR: SPAN-like attention, folded branches, and half the resolution."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders.blocks import conv, conv3x3
from models.encoders.edsr import residual_block
from models.layers.convolution import in_turn
from models.registry import register
from utils.kinds import Count


class ParameterFreeAttention(nn.Module):
    """Three convolutions whose output also weighs it: (out + x) * (sigmoid(out) - 0.5) (SPAN, Wan et al., CVPRW 2024,
    equations 2 to 4)."""

    def __init__(self, channels: int, staggered: bool = False):
        super().__init__()
        self.convs = nn.ModuleList(conv3x3(channels, channels, staggered ^ (number == 1)) for number in range(3))

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for number, layer in enumerate(self.convs):
            out = layer(F.silu(out) if number else out)
        return (out + x) * (out.sigmoid() - 0.5)


@register("span")
class SPAN(nn.Module):
    """(B, 3, h, w) -> (B, n_feats, h, w): blocks in a row, whose first, next to last and last output are fused with
    the shallow features."""

    upsamples = False

    def __init__(self, n_blocks: Count = 5, n_feats: Count = 32):
        super().__init__()
        self.head = conv3x3(3, n_feats)
        self.blocks = nn.ModuleList(ParameterFreeAttention(n_feats, number % 2 == 1) for number in range(n_blocks))
        self.fuse = conv(4 * n_feats, n_feats, 1)
        self.last = conv3x3(n_feats, n_feats, n_blocks % 2 == 1)
        self.out_dim = n_feats
        self.reach = 2 + 3 * n_blocks

    def forward(self, image: Tensor) -> Tensor:
        outputs = [self.head(image)]
        for block in self.blocks:
            outputs.append(block(outputs[-1]))
        return self.fuse(torch.cat([outputs[0], self.last(outputs[-1]), outputs[1], outputs[-2]], dim=1))


@register("edsr-half")
class HalfEDSR(nn.Module):
    """EDSR's blocks at half the resolution, (B, 3, h, w) -> (B, out_dim, h, w): 2x2 pixels become channels on the way
    in, and channels pixels on the way out. Sizes are made even by repeating the last row and column."""

    upsamples = False

    def __init__(self, n_resblocks: Count = 8, n_feats: Count = 64, out_dim: Count = 32):
        super().__init__()
        self.head = conv3x3(12, n_feats)
        self.body = nn.Sequential(*[residual_block(n_feats, 1) for _ in range(n_resblocks)], conv3x3(n_feats, n_feats))
        self.tail = conv3x3(n_feats, 4 * out_dim)
        self.out_dim = out_dim

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        even = F.pad(image, (0, width % 2, 0, height % 2), mode="replicate")
        head = self.head(F.pixel_unshuffle(even, 2))
        return F.pixel_shuffle(self.tail(in_turn(self.body, head, head)), 2)[:, :, :height, :width]
