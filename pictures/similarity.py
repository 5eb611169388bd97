"""PSNR and SSIM, which metrics, losses, painting and the page share."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EXACT = 80.0  # dB: an error of a fortieth of a grey level; pictures above it are equal for any reader
WINDOW = 11  # pixels a side of the Gaussian window


def ssim_map(x: Tensor, y: Tensor, span: float = 1) -> Tensor:
    """SSIM (Wang et al., 2004) at every pixel of two (N, 1, H, W) stacks of channels whose values span `span`:
    (N, 1, H - 10, W - 10), by an 11x11 Gaussian window of sigma 1.5, where it fits ("valid")."""
    distance = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.exp(-(distance**2) / (2 * 1.5**2))
    window = window / window.sum()

    def local_mean(values: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(values, window[None, None, :, None]), window[None, None, None])

    mean_x, mean_y = local_mean(x), local_mean(y)
    variance_x = local_mean(x * x) - mean_x**2
    variance_y = local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return luminance * structure


def psnr(picture: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of values in [0, 1], any shape; infinite when equal."""
    mse = (picture - target).double().square().mean().item()
    return math.inf if mse == 0 else -10 * math.log10(mse)


def ssim(picture: Tensor, target: Tensor) -> float:
    """Structural similarity of two (C, H, W) pictures in [0, 1], mean over channels and pixels; nan when a side is
    below WINDOW."""
    if min(picture.shape[-2:]) < WINDOW:
        return math.nan
    return ssim_map(picture.double()[:, None], target.double()[:, None]).mean().item()
