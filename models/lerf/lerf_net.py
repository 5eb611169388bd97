"""LeRF-Net and LeRF-Net++ (arXiv 2407.09935): both stages as convolutional networks on all channels at once."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from models.continuous import ContinuousModel, Tiling
from models.lerf.stages import LeRF, Support, make_kernel
from models.registry import make, register
from utils.config import Check
from utils.errors import InputError
from utils.geometry.grids import Grid

Width = Annotated[int, Check("a multiple of 4", lambda v: type(v) is int and v > 0 and v % 4 == 0)]  # kept in quarters
BLOCKS = 5
CHANNELS = 3


class DistillationBlock(nn.Module):
    """Information multi-distillation block (IMDN, Hui et al., ACM MM 2019): three convolutions each keep a quarter of
    their channels and pass on the rest, a fourth gives the last quarter, and a 1x1 convolution fuses them."""

    def __init__(self, width: int):
        super().__init__()
        self.kept = width // 4
        passed = width - self.kept
        self.c1 = nn.Conv2d(width, width, 3, padding=1)
        self.c2 = nn.Conv2d(passed, width, 3, padding=1)
        self.c3 = nn.Conv2d(passed, width, 3, padding=1)
        self.c4 = nn.Conv2d(passed, self.kept, 3, padding=1)
        self.c5 = nn.Conv2d(4 * self.kept, width, 1)
        self.activation = nn.LeakyReLU(0.05)

    def forward(self, x: Tensor) -> Tensor:
        kept, passed = [], x
        for conv in (self.c1, self.c2, self.c3):
            distilled = self.activation(conv(passed))
            kept.append(distilled[:, : self.kept])
            passed = distilled[:, self.kept :]
        return x + self.c5(torch.cat([*kept, self.c4(passed)], dim=1))


class Shortcut(nn.Module):
    """Layers `sub` whose output is added to their input."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.sub = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sub(x)


class IMDN(nn.Module):
    """(B, in_dim, h, w) -> (B, out_dim, h, w), clipped to [-1, 1]."""

    def __init__(self, in_dim: int, out_dim: int, width: int):
        super().__init__()
        blocks = [DistillationBlock(width) for _ in range(BLOCKS)]
        self.model = nn.Sequential(
            nn.Conv2d(in_dim, width, 3, padding=1),
            Shortcut(*blocks, nn.Conv2d(width, width, 1)),
            nn.Conv2d(width, out_dim, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).clamp(-1, 1)


@register("lerf-net")
class LeRFNet(LeRF):
    """Steerable Gaussian kernels from two networks of `nf` features (a multiple of 4) on RGB pictures, without
    rounding in between."""

    tiling = Tiling.SUPPORTED
    whole_types = (torch.float16, torch.bfloat16)

    def __init__(self, nf: Width = 64, support: Support = 2, antialias: bool = True):
        super().__init__(make_kernel("gauss", support), antialias)
        self.stage1 = IMDN(CHANNELS, CHANNELS, nf)
        self.stage2 = IMDN(CHANNELS, CHANNELS * len(self.kernel.hyper_parameters), nf)

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        return [(self.stage1, pixels), (self.stage2, pixels)]

    def stages(self, image: Tensor) -> tuple[Tensor, Tensor]:
        feature = self.stage1(image) * 127 + 127
        hyper = self.stage2(feature / 255) / 2 + 0.5
        return feature, hyper.unflatten(1, (-1, CHANNELS))  # (B, K, C, h, w): published channels are rho, rho, rho, ...


@register("lerf-net-plus")
class LeRFNetPlus(LeRFNet):
    """LeRF-Net++: LeRF-Net on a picture that a frozen model, `upsampler_spec`, has enlarged by 2.

    Positions are in [-1, 1] for any number of pixels, so scales and homographies refer to the input.
    """

    whole_types = ()

    def __init__(self, upsampler_spec: Mapping[str, Any], nf: Width = 64, support: Support = 2, antialias: bool = True):
        super().__init__(nf, support, antialias)
        upsampler = make(upsampler_spec)
        if not isinstance(upsampler, ContinuousModel):
            raise InputError(f"upsampler '{upsampler_spec['name']}' is only a part of a model; name a decoder")
        self.upsampler = upsampler.requires_grad_(False).eval()

    @property
    def tiling(self) -> Tiling:
        return Tiling.DISCOURAGED if self.upsampler.tiling is Tiling.DISCOURAGED else Tiling.SUPPORTED

    @classmethod
    def of(cls, net: LeRFNet, upsampler: ContinuousModel) -> "LeRFNetPlus":
        """A trained LeRF-Net on a trained upsampler."""
        width = net.stage1.model[0].out_channels
        plus = cls({"name": "nearest"}, width, round(2 * net.kernel.radius), net.antialias)
        plus.load_state_dict(net.state_dict())
        plus.upsampler = upsampler.requires_grad_(False).eval()
        return plus

    def train(self, mode: bool = True) -> "LeRFNetPlus":
        super().train(mode)
        self.upsampler.eval()
        return self

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        encoder = [(self.upsampler.encoder, pixels)] if hasattr(self.upsampler, "encoder") else []
        of_upsampler = [*encoder, *self.upsampler.network_runs(pixels, 4 * pixels)]
        return [*of_upsampler, *super().network_runs(4 * pixels, queries)]

    @property
    def encodes(self) -> bool:
        return self.upsampler.encodes

    @torch.no_grad()
    def enlarged(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, 3, 2h, 2w), both in [0, 1]."""
        grid = Grid.of_size((2 * image.shape[-2], 2 * image.shape[-1]))
        sub, div = self.upsampler.normalization
        latent = self.upsampler.encode((image - sub) / div)
        return (self.upsampler.render(latent, grid) * div + sub).clamp(0, 1)

    def stages(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return super().stages(self.enlarged(image))
