"""Peak signal-to-noise ratio and structural similarity."""

from torch import Tensor

from evaluation.metrics.registry import Metric, register
from pictures.similarity import EXACT, WINDOW, psnr, ssim


@register("psnr")
class PSNR(Metric):
    """PSNR in dB, at most EXACT, from which on pictures are counted apart (see `evaluation.statistics.means`)."""

    heading = "PSNR"
    digits = 3

    def __call__(self, picture: Tensor, target: Tensor) -> float:
        return min(psnr(picture, target), EXACT)


@register("ssim")
class SSIM(Metric):
    """SSIM (Wang et al., 2004) with an 11x11 Gaussian window of sigma 1.5, where it fits ("valid"); nan when a side is
    below 11."""

    heading = "SSIM"
    smallest_side = WINDOW

    def __call__(self, picture: Tensor, target: Tensor) -> float:
        return ssim(picture, target)
