"""LeRF-L and LeRF-G as networks, from which look-up tables (LUTs) are made."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.computing import chunk_bytes, is_exporting
from models.lerf import PATTERNS, ROTATIONS
from models.lerf.stages import EnsembleLeRF, Modes, Support, round_through
from models.registry import register
from utils.config import Count

DENSE_LAYERS = 4


class Conv(nn.Module):
    """A convolution under the published name, `conv`."""

    def __init__(self, in_dim: int, out_dim: int, kernel: tuple[int, int] = (1, 1)):
        super().__init__()
        self.conv = nn.Conv2d(in_dim, out_dim, kernel)
        nn.init.kaiming_normal_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, columns: Tensor) -> Tensor:
        """The convolution as a matrix product; columns are whole patches: (in_dim * kernel area, N) -> (out_dim, N)."""
        return torch.addmm(self.conv.bias[:, None], self.conv.weight.flatten(1), columns)


class DenseConv(nn.Module):
    """1x1 convolution with ReLU whose output is appended to its input."""

    def __init__(self, in_dim: int, width: int):
        super().__init__()
        self.conv1 = Conv(in_dim, width)

    def forward(self, columns: Tensor) -> Tensor:
        return torch.cat([columns, F.relu(self.conv1(columns))])


class SRNet(nn.Module):
    """One convolution over all four pixels, four dense layers, and tanh."""

    def __init__(self, kernel: tuple[int, int], width: int, out_dim: int):
        super().__init__()
        self.conv1 = Conv(1, width, kernel)
        for layer in range(DENSE_LAYERS):
            setattr(self, f"conv{layer + 2}", DenseConv(width * (layer + 1), width))
        self.conv6 = Conv(width * (DENSE_LAYERS + 1), out_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """(4, N) in [0, 1] -> (K, N) in [-1, 1], in float32 also under autocast."""
        hidden = F.relu(self.conv1(pixels))
        for layer in range(DENSE_LAYERS):
            hidden = getattr(self, f"conv{layer + 2}")(hidden)
        return torch.tanh(self.conv6(hidden).float())


class SRUnit(nn.Module):
    """A network on the four pixels of a pattern, (4, N) in [0, 1] -> (K, N) in [-1, 1]."""

    def __init__(self, pattern: str, width: int, out_dim: int):
        super().__init__()
        offsets = PATTERNS[pattern]
        columns = len({dx for _, dx in offsets})
        kernel = (2, 2) if columns == 2 else (1, len(offsets))
        self.model = SRNet(kernel, width, out_dim)
        self.widest = width * (DENSE_LAYERS + 1)

    def forward(self, pixels: Tensor) -> Tensor:
        # The intermediates of a part fit the cache; more columns at once would not be faster.
        if is_exporting():  # graphs have no loops
            return self.model(pixels)
        columns = max(1, chunk_bytes(pixels.device) // (4 * self.widest))
        return torch.cat([self.model(part) for part in pixels.split(columns, dim=1)], dim=1)


class LeRFNetwork(EnsembleLeRF):
    """LeRF-L or LeRF-G with a network as each unit; outputs are rounded to 1/127, as a LUT stores them."""

    def __init__(self, kernel: str, nf: int, modes: str, support: int, antialias: bool):
        super().__init__(kernel, modes, support, antialias)
        for name, _, pattern, values in self.units():
            setattr(self, name, SRUnit(pattern, nf, values))

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        """Every unit sees each channel of a pixel from all, or half, of the four directions."""
        return [(getattr(self, name), 3 * pixels * ROTATIONS // stage) for name, stage, *_ in self.units()]

    def respond(self, unit: str, pixels: Tensor) -> Tensor:
        return round_through(getattr(self, unit)(pixels / 255) * 127)


@register("lerf-l")
class LeRFL(LeRFNetwork):
    """Amplified linear kernels; units of `nf` features on the patterns `modes`, kernels over `support` x `support`
    pixels."""

    def __init__(self, nf: Count = 64, modes: Modes = "sct", support: Support = 2, antialias: bool = True):
        super().__init__("linear", nf, modes, support, antialias)


@register("lerf-g")
class LeRFG(LeRFNetwork):
    """Steerable Gaussian kernels; units of `nf` features on the patterns `modes`, kernels over `support` x `support`
    pixels."""

    def __init__(self, nf: Count = 64, modes: Modes = "sct", support: Support = 2, antialias: bool = True):
        super().__init__("gauss", nf, modes, support, antialias)
