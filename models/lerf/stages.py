"""LeRF (CVPR 2023): the two stages that networks and tables share, pre-filter and hyper-parameters."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from models.continuous import Latent
from models.lerf import PATTERNS, ROTATIONS
from models.resampling.kernels import AmplifiedLinear, Kernel, SteerableGaussian
from models.resampling.resampler import Resampler
from utils.config import Check
from utils.errors import InputError

KERNELS: dict[str, type[Kernel]] = {"linear": AmplifiedLinear, "gauss": SteerableGaussian}
Support = Literal[2, 4]  # pixels
SMALLEST_REST = 1e-3  # of a level: numbers of 8 bits are no farther from one, those of 16 bits at least 1 / 257
Modes = Annotated[
    str,
    Check(
        f"some of the letters {''.join(PATTERNS)}, each once",
        lambda v: isinstance(v, str) and 0 < len(v) == len(set(v)) and set(v) <= set(PATTERNS),
    ),
]


def turned(offset: tuple[int, int], rotation: int) -> tuple[int, int]:
    """The offset that becomes `offset` when its picture is turned by `rotation` x 90 degrees (numpy.rot90)."""
    dy, dx = offset
    for _ in range(rotation):
        dy, dx = dx, -dy
    return dy, dx


def neighbourhood(picture: Tensor, pattern: str, rotation: int) -> Tensor:
    """The four pixels of a pattern around every pixel of (N, h, w) pictures, border replicated: (4, N * h * w)."""
    height, width = picture.shape[-2:]
    offsets = [turned(offset, rotation) for offset in PATTERNS[pattern]]
    reach = max(abs(step) for offset in offsets for step in offset)
    padded = F.pad(picture[None], (reach,) * 4, mode="replicate")[0]
    shifted = [padded[:, reach + y : reach + y + height, reach + x : reach + x + width] for y, x in offsets]
    return torch.stack(shifted).flatten(1)


def make_kernel(name: str, support: int) -> Kernel:
    """A kernel whose hyper-parameters are predicted, over `support` x `support` pixels (2 as published, or 4)."""
    if name not in KERNELS:
        raise InputError(f"unknown kernel '{name}'; expected {' or '.join(KERNELS)}")
    return KERNELS[name](support / 2)


class StraightThroughRound(torch.autograd.Function):
    """Rounding, half to even, whose gradient is that of the identity."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


def round_through(x: Tensor) -> Tensor:
    """Rounding, half to even, through which gradients pass where there are any."""
    return StraightThroughRound.apply(x) if torch.is_grad_enabled() else x.round()


def between_levels(image: Tensor) -> Tensor:
    """Pictures in [0, 1] minus their nearest of 256 grey levels: 0 for 8 bits.

    Stages see levels alone, as published. The rest is added to the pre-filtered picture, so that gradients of 16 bits
    stay smooth.
    """
    levels = image.clamp(0, 1) * 255
    rest = levels - levels.round()
    return torch.where(rest.abs() < SMALLEST_REST, 0, rest) / 255


class LeRF(Resampler):
    """Base of all LeRF models: the pre-filtered picture, resampled with a kernel whose shape each pixel sets.

    Pictures are in [0, 1], any number of channels. A subclass implements `stages`.
    """

    normalization = (0.0, 1.0)

    def stages(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) in [0, 1] -> the pre-filtered picture (B, C, h', w') in 0..255 and its hyper-parameters (B, K,
        C, h', w') in [0, 1]."""
        raise NotImplementedError

    def encode(self, image: Tensor) -> Latent:
        feature, hyper = self.stages(image)
        return Latent(torch.cat([feature / 255, hyper.flatten(1, 2)], dim=1), image)


class EnsembleLeRF(LeRF):
    """LeRF-L and LeRF-G: channels are independent; each stage sums the output of its units for the patterns in `modes`,
    turned in four directions.

    Stage 1 has one unit per pattern, stage 2 has two, of which the second reads the pattern turned by 90 and 270
    degrees (directional ensemble). A subclass implements `respond`.
    """

    def __init__(self, kernel: str, modes: str, support: int, antialias: bool):
        super().__init__(make_kernel(kernel, support), antialias)
        self.modes = modes

    @property
    def context(self) -> int:
        offsets = (offset for mode in self.modes for offset in PATTERNS[mode])
        return 2 * max(abs(step) for offset in offsets for step in offset)  # of either stage, in all directions

    def arguments(self) -> dict[str, Any]:
        """The arguments of the LUTs made from this model."""
        kernel = next(name for name, kind in KERNELS.items() if type(self.kernel) is kind)
        support = round(2 * self.kernel.radius)
        return {"kernel": kernel, "modes": self.modes, "support": support, "antialias": self.antialias}

    def encode(self, image: Tensor) -> Latent:
        feature, hyper = self.stages(image)
        return Latent(torch.cat([feature / 255 + between_levels(image), hyper.flatten(1, 2)], dim=1), image)

    def units(self) -> Iterator[tuple[str, int, str, int]]:
        """(name, stage, pattern, number of output values) of every unit."""
        for stage, directions, values in ((1, 1, 1), (2, 2, len(self.kernel.hyper_parameters))):
            for mode in self.modes:
                for direction in range(directions):
                    yield f"s{stage}_{mode}r{direction}", stage, mode, values

    def respond(self, unit: str, pixels: Tensor) -> Tensor:
        """Output of one unit for (4, N) pixels in 0..255: (K, N), in -127..127."""
        raise NotImplementedError

    def ensemble(self, stage: int, levels: Tensor) -> Tensor:
        """Sum of a stage's units over patterns and directions, for (N, h, w) pictures in 0..255: (K, N, h, w)."""
        total = 0
        for mode in self.modes:
            for direction in range(stage):
                turns = range(direction, ROTATIONS, stage)
                pixels = torch.cat([neighbourhood(levels, mode, turn) for turn in turns], dim=1)
                values = self.respond(f"s{stage}_{mode}r{direction}", pixels)  # (K, turns * N * h * w)
                total = total + values.reshape(-1, len(turns), *levels.shape).sum(1)
        return total

    def stages(self, image: Tensor) -> tuple[Tensor, Tensor]:
        levels = (image * 255).round().clamp(0, 255).flatten(0, 1)  # (B * C, h, w)
        # Sums are multiples of 1/16 and exact in float32, so ties are rounded correctly.
        sharpened = self.ensemble(1, levels)[0] / len(self.modes)
        feature = round_through(sharpened.clamp(0, 255))
        shape = self.ensemble(2, feature) / (len(self.modes) * ROTATIONS) + 127
        hyper = round_through(shape.clamp(0, 255)) / 255
        batch = image.shape[:2]
        return feature.unflatten(0, batch), hyper.unflatten(1, batch).transpose(0, 1)
