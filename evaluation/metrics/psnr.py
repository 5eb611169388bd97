"""Peak signal-to-noise ratio."""

from torch import Tensor

from evaluation.metrics.registry import Metric, register
from pictures.similarity import EXACT, psnr


@register("psnr")
class PSNR(Metric):
    """PSNR in dB, at most EXACT, from which on pictures are counted apart (see `evaluation.results.means`)."""

    heading = "PSNR"
    digits = 3

    def __call__(self, picture: Tensor, target: Tensor) -> float:
        return min(psnr(picture, target), EXACT)
