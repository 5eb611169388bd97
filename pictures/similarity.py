"""Structural similarity, which a metric and a loss share."""

import torch
import torch.nn.functional as F
from torch import Tensor

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
