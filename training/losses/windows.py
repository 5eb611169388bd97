"""Losses that compare neighbouring pixels: their queries are windows of the HR picture in row-major order."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.normalization import Affine
from pictures.similarity import WINDOW, ssim_map
from training.losses import register
from utils.errors import InputError

REGION = 8  # pixels a side of the squares whose gradients' variance is compared
LUMA = (0.299, 0.587, 0.114)  # of RGB, BT.601


def as_pictures(values: Tensor, window: tuple[int, int]) -> Tensor:
    """(B, Q, C) of a window (h, w) -> (B, C, h, w)."""
    return values.transpose(1, 2).unflatten(2, window)


def check_window(name: str, window: tuple[int, int], smallest: int) -> None:
    """InputError when a side of the window is below `smallest`."""
    if min(window) < smallest:
        raise InputError(
            f"loss '{name}' needs windows of at least {smallest}x{smallest} queries, not {window[1]}x{window[0]}; "
            f"raise sample_q to {smallest**2} or more"
        )


@register("fft")
class FFTAmplitude(nn.Module):
    """Mean absolute difference of the Fourier amplitudes of windows (Fuoli et al. 2021, equation 4), by orthonormal
    transforms: as large as an L1 of noise without structure."""

    def __init__(self, window: tuple[int, int]):
        super().__init__()
        self.window = window

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        amplitudes, wanted = (
            torch.fft.rfft2(as_pictures(x, self.window), norm="ortho").abs() for x in (values, targets)
        )
        return (amplitudes - wanted).abs().mean()


@register("ssim")
class StructuralDissimilarity(nn.Module):
    """1 - SSIM (Wang et al. 2004), mean over channels and pixels; the range of the values is that of `gt`."""

    def __init__(self, window: tuple[int, int], gt: Affine):
        super().__init__()
        check_window("ssim", window, WINDOW)
        self.window = window
        self.span = gt.span

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        x, y = (as_pictures(x, self.window).flatten(0, 1)[:, None] for x in (values, targets))  # (B * C, 1, h, w)
        return 1 - ssim_map(x, y, self.span).mean()


@register("gradient-variance")
class GradientVariance(nn.Module):
    """Squared difference of the variance that the gradients of the luma have in squares of 8x8 pixels (Abrahamyan et
    al. 2022, equations 2 to 5), for Sobel's horizontal and vertical gradients: soft results lack variance."""

    def __init__(self, window: tuple[int, int]):
        super().__init__()
        check_window("gradient-variance", window, REGION + 2)
        self.window = window
        slope = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        self.kernels = torch.stack([slope, slope.T])[:, None]  # (2, 1, 3, 3)

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        variance, wanted = (self._variance(as_pictures(x, self.window)) for x in (values, targets))
        return 2 * (variance - wanted).square().mean()  # the sum of both directions' means

    def _variance(self, pictures: Tensor) -> Tensor:
        """(B, 2, n) of pictures (B, C, h, w): in both directions, of every square."""
        if pictures.shape[1] == 3:
            pictures = (pictures * pictures.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
        gradients = F.conv2d(pictures, self.kernels.to(pictures))  # (B, 2, h - 2, w - 2)
        squares = F.unfold(gradients, REGION, stride=REGION).unflatten(1, (2, -1))  # (B, 2, 64, n)
        return squares.var(2)
