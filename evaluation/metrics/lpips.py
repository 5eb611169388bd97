"""Perceptual distance, by the optional package lpips."""

import warnings
from typing import Literal

import torch
from torch import Tensor

from evaluation.metrics.registry import Metric, register
from utils.errors import InputError


@register("lpips")
class LPIPS(Metric):
    """LPIPS 0.1 (Zhang et al., 2018) on the features of AlexNet or VGG-16: 0 when equal.

    InputError without the package, or where the weights of the network, which torchvision downloads at first use,
    cannot be had.
    """

    heading = "LPIPS"
    lower_is_better = True
    smallest_side = 32  # AlexNet's layers leave nothing of less
    whole_rgb = True
    network = True

    def __init__(self, net: Literal["alex", "vgg"] = "alex"):
        try:
            from lpips import LPIPS as Network
        except ImportError as error:
            raise InputError(f"lpips needs one more package ({error}): pip install lpips; or leave it out") from None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.distance = Network(net=net, verbose=False).eval()
        except (OSError, RuntimeError) as error:  # no network, or a download cut short
            raise InputError(
                f"lpips: the weights of its network cannot be had ({error}); put torchvision's file into "
                f"{torch.hub.get_dir()}/checkpoints, or leave lpips out"
            ) from None

    def __call__(self, picture: Tensor, target: Tensor) -> float:
        return self.distance.to(picture.device)(picture[None], target[None], normalize=True).item()
