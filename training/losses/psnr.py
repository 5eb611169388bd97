"""A loss in the unit in which pictures are judged."""

import torch
from torch import Tensor, nn

from training.losses import register


@register("psnr")
class NegativePSNR(nn.Module):
    """-PSNR in dB, the mean over the items of a batch (Chen et al. 2021, HINet): MSE that counts an item the less the
    larger its error is, as a mean of PSNRs over pictures does. `eps` is added to each item's MSE, so that flat items
    do not count for all."""

    def __init__(self, eps: float = 1e-4):
        super().__init__()
        self.eps = eps

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        errors = (values - targets).square().flatten(1).mean(1)
        return 10 * torch.log10(errors + self.eps).mean()
