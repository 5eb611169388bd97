"""Encoders of about the cost of a small EDSR, for `configs/trials/encoders.yaml`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders.blocks import Residual, conv, conv3x3
from models.encoders.edsr import residual_block
from models.layers.convolution import STAGGERED_TILES, Convolution, convolved, in_turn
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


# Sobel's derivatives and Laplace's, whose sums over a 3x3 neighbourhood are 0
EDGES = ([[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[1, 2, 1], [0, 0, 0], [-1, -2, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]])


class Folded(Convolution):
    """A 3x3 convolution that is trained as the sum of itself, of a 1x1 followed by a wider 3x3 and of 1x1 followed by
    scaled edge filters, which are one 3x3 convolution (Zhang et al., ACM MM 2021)."""

    def __init__(self, channels: int, staggered: bool, expansion: int = 2):
        super().__init__(channels, channels, 3, STAGGERED_TILES if staggered else 0)
        wider = expansion * channels
        self.widen = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(wider, channels), a=5**0.5))
        self.narrow = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(channels, wider, 3, 3), a=5**0.5))
        self.point = nn.Parameter(torch.randn(len(EDGES), channels, channels) / channels)
        self.strength = nn.Parameter(torch.randn(len(EDGES), channels) * 1e-3)
        self.register_buffer("edges", torch.tensor(EDGES, dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor, relu: bool = False, skip: Tensor | None = None, scale: float = 1.0) -> Tensor:
        weight = self.weight + torch.einsum("owyx,wi->oiyx", self.narrow, self.widen)
        weight = weight + torch.einsum("eo,eyx,eoi->oiyx", self.strength, self.edges, self.point)
        return convolved(x, weight, self.bias, first_tile=self.first_tile, relu=relu, skip=skip, scale=scale)


@register("edsr-folded")
class FoldedEDSR(nn.Module):
    """EDSR whose body is of `Folded` convolutions: (B, 3, h, w) -> (B, n_feats, h, w)."""

    upsamples = False

    def __init__(self, n_resblocks: Count = 8, n_feats: Count = 32):
        super().__init__()
        self.head = conv3x3(3, n_feats)
        blocks = [
            Residual(Folded(n_feats, False), nn.ReLU(inplace=True), Folded(n_feats, True)) for _ in range(n_resblocks)
        ]
        self.body = nn.Sequential(*blocks, Folded(n_feats, False))
        self.out_dim = n_feats
        self.reach = 2 + 2 * n_resblocks

    def forward(self, image: Tensor) -> Tensor:
        head = self.head(image)
        return in_turn(self.body, head, head)


class LargeKernel(nn.Module):
    """x + 1x1(weighed(large kernel on some channels(mixed(x)))) (PLKSR, Lee et al., 2024)."""

    def __init__(self, channels: int, some: int, size: int, staggered: bool):
        super().__init__()
        self.mix = nn.Sequential(
            conv3x3(channels, 2 * channels, staggered), nn.ReLU(), nn.Conv2d(2 * channels, channels, 1)
        )
        self.large = nn.Conv2d(some, some, size, padding=size // 2)
        self.weigh = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.some = some

    def forward(self, x: Tensor) -> Tensor:
        mixed = in_turn(self.mix, x)
        wide = torch.cat([self.large(mixed[:, : self.some]), mixed[:, self.some :]], dim=1)
        return x + self.out(wide * self.weigh(wide).sigmoid())


@register("plksr")
class PLKSR(nn.Module):
    """(B, 3, h, w) -> (B, n_feats, h, w) by blocks with a large kernel on a part of the channels."""

    upsamples = False

    def __init__(self, n_blocks: Count = 6, n_feats: Count = 32, some: Count = 8, size: Count = 13):
        super().__init__()
        self.head = conv3x3(3, n_feats)
        self.body = nn.Sequential(
            *[LargeKernel(n_feats, some, size, number % 2 == 1) for number in range(n_blocks)],
            conv3x3(n_feats, n_feats, n_blocks % 2 == 1),
        )
        self.out_dim = n_feats

    def forward(self, image: Tensor) -> Tensor:
        head = self.head(image)
        return in_turn(self.body, head, head)


class ChannelNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Modulation(nn.Module):
    """Depthwise 3x3 of channel groups at 1, 1/2, 1/4 and 1/8 of the size, whose mixture weighs the input; then a 3x3
    and a 1x1 that mix channels (SAFMN, Sun et al., ICCV 2023)."""

    def __init__(self, channels: int, staggered: bool, levels: int = 4):
        super().__init__()
        part = channels // levels
        self.norms = nn.ModuleList(ChannelNorm(channels) for _ in range(2))
        self.depthwise = nn.ModuleList(nn.Conv2d(part, part, 3, padding=1, groups=part) for _ in range(levels))
        self.fuse = nn.Conv2d(channels, channels, 1)
        self.mix = nn.Sequential(
            conv3x3(channels, 2 * channels, staggered), nn.GELU(), nn.Conv2d(2 * channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norms[0](x)
        size, groups = x.shape[-2:], normed.chunk(len(self.depthwise), dim=1)
        levels = []
        for level, (group, layer) in enumerate(zip(groups, self.depthwise, strict=True)):
            small = [max(1, length >> level) for length in size]
            pooled = F.adaptive_max_pool2d(group, small) if level else group
            levels.append(F.interpolate(layer(pooled), size=size) if level else layer(pooled))
        x = x + F.gelu(self.fuse(torch.cat(levels, dim=1))) * normed
        return x + in_turn(self.mix, self.norms[1](x))


@register("safmn")
class SAFMN(nn.Module):
    """(B, 3, h, w) -> (B, n_feats, h, w) by blocks that modulate what they see by what lies around."""

    upsamples = False

    def __init__(self, n_blocks: Count = 6, n_feats: Count = 32):
        super().__init__()
        self.head = conv3x3(3, n_feats)
        self.body = nn.Sequential(*[Modulation(n_feats, number % 2 == 1) for number in range(n_blocks)])
        self.out_dim = n_feats

    def forward(self, image: Tensor) -> Tensor:
        head = self.head(image)
        return self.body(head) + head


class LocalFeatures(nn.Module):
    """Three 3x3 convolutions beside a skip, a 1x1, and attention from an eighth of the size (RLFN, Kong et al.,
    CVPRW 2022)."""

    def __init__(self, channels: int, staggered: bool, narrow: int = 16):
        super().__init__()
        layers = [layer for n in range(3) for layer in (conv3x3(channels, channels, staggered ^ (n == 1)), nn.ReLU())]
        self.convs, self.out = nn.Sequential(*layers), nn.Conv2d(channels, channels, 1)
        self.narrow = nn.Conv2d(channels, narrow, 1)
        self.reduce = nn.Conv2d(narrow, narrow, 3, stride=2, padding=1)
        self.far = nn.Conv2d(narrow, narrow, 3, padding=1)
        self.near, self.attend = nn.Conv2d(narrow, narrow, 1), nn.Conv2d(narrow, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.out(x + in_turn(self.convs, x))
        narrow = self.narrow(out)
        far = self.far(F.max_pool2d(self.reduce(narrow), 7, stride=3, padding=3))
        far = F.interpolate(far, size=x.shape[-2:], mode="bilinear")
        return out * self.attend(far + self.near(narrow)).sigmoid()


@register("rlfn")
class RLFN(nn.Module):
    """(B, 3, h, w) -> (B, n_feats, h, w) by local features with attention from afar."""

    upsamples = False

    def __init__(self, n_blocks: Count = 4, n_feats: Count = 32):
        super().__init__()
        self.head = conv3x3(3, n_feats)
        self.body = nn.Sequential(
            *[LocalFeatures(n_feats, number % 2 == 1) for number in range(n_blocks)],
            conv3x3(n_feats, n_feats, n_blocks % 2 == 1),
        )
        self.out_dim = n_feats

    def forward(self, image: Tensor) -> Tensor:
        head = self.head(image)
        return in_turn(self.body, head, head)
