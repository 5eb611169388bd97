"""RDN (Zhang et al., CVPR 2018): residual blocks in which each convolution reads the outputs of all earlier ones."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders.edsr import upsampler
from models.layers.convolution import Convolution, in_turn
from models.registry import register
from utils.config import Count
from utils.errors import InputError, nearest_name

# (blocks, convolutions per block, channels that each convolution adds): D, C and G of the paper.
CONFIGURATIONS = {"A": (20, 6, 32), "B": (16, 8, 64)}


class DenseLayer(nn.Module):
    """[x, relu(Convolution(x))] along the channels: (B, c, h, w) -> (B, c + growth, h, w)."""

    def __init__(self, channels: int, growth: int, kernel_size: int):
        super().__init__()
        self.conv = nn.Sequential(Convolution(channels, growth, kernel_size), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, in_turn(self.conv, x)], dim=1)


class ResidualDenseBlock(nn.Module):
    """x + fusion of x and of the outputs of `layers` dense layers, (B, channels, h, w) in and out (equations 4 to 7).

    `LFF` is the paper's local feature fusion.
    """

    def __init__(self, channels: int, growth: int, layers: int, kernel_size: int):
        super().__init__()
        dense = [DenseLayer(channels + i * growth, growth, kernel_size) for i in range(layers)]
        self.convs = nn.Sequential(*dense)
        self.LFF = Convolution(channels + layers * growth, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.LFF(self.convs(x))


@register("rdn")
class RDN(nn.Module):
    """(B, 3, h, w) normalised -> (B, G0, h, w) features, or with its tail `UPNet` (B, 3, scale*h, scale*w).

    `RDNkSize` is the odd side of the convolutions; `RDNconfig` is 'A' (20 blocks of 6 convolutions that add 32 channels
    each) or 'B' (16, 8, 64). Raises InputError for others. `SFENet` extracts the shallow features, `GFF` is the global
    feature fusion.
    """

    def __init__(
        self, G0: Count = 64, RDNkSize: Count = 3, RDNconfig: str = "B", scale: int = 2, no_upsampling: bool = False
    ):
        super().__init__()
        if RDNconfig not in CONFIGURATIONS:
            raise InputError(f"unknown RDNconfig '{RDNconfig}'; {nearest_name(RDNconfig, CONFIGURATIONS)}")
        if RDNkSize % 2 == 0:
            raise InputError(f"RDNkSize {RDNkSize} would change the size of the picture; give an odd number")
        blocks, layers, growth = CONFIGURATIONS[RDNconfig]
        self.SFENet1 = Convolution(3, G0, RDNkSize)
        self.SFENet2 = Convolution(G0, G0, RDNkSize)
        self.RDBs = nn.ModuleList([ResidualDenseBlock(G0, growth, layers, RDNkSize) for _ in range(blocks)])
        self.GFF = nn.Sequential(Convolution(blocks * G0, G0, 1), Convolution(G0, G0, RDNkSize))
        self.upsamples = not no_upsampling
        self.out_dim = G0 if no_upsampling else 3
        convolutions = 3 + blocks * layers  # consecutive ones, without those of 1x1
        self.reach = convolutions * (RDNkSize // 2) if no_upsampling else None
        self.UPNet = None
        if not no_upsampling:
            self.UPNet = upsampler(growth, scale, G0, RDNkSize).append(Convolution(growth, 3, RDNkSize))

    def forward(self, image: Tensor) -> Tensor:
        shallow = self.SFENet1(image)
        features = shallow + self.GFF[1](self._fused_blocks(self.SFENet2(shallow)))
        return features if self.UPNet is None else self.UPNet(features)

    def _fused_blocks(self, x: Tensor) -> Tensor:
        """GFF.0 on the outputs of all blocks, summed block by block, so that their concatenation is never in memory."""
        fuse = self.GFF[0]
        fused = fuse.bias[:, None, None]
        for block, weight in zip(self.RDBs, fuse.weight.split(x.shape[1], dim=1), strict=True):
            x = block(x)
            fused = fused + F.conv2d(x, weight)
        return fused
