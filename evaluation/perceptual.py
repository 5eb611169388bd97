"""LPIPS, by the optional package lpips."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from utils.errors import InputError

SMALLEST = 32  # pixels a side: AlexNet's layers leave nothing of less


def load_lpips(device: torch.device) -> Callable[[Tensor, Tensor], float]:
    """Distance of two (3, H, W) pictures in [0, 1] by LPIPS 0.1 (Zhang et al. 2018) on AlexNet: 0 when equal.

    InputError without the package, or where the weights of AlexNet, which torchvision downloads at first use, cannot be
    had.
    """
    try:
        from lpips import LPIPS
    except ImportError as error:
        raise InputError(f"lpips needs one more package ({error}): pip install lpips; or leave it out") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = LPIPS(net="alex", verbose=False).to(device).eval()
    except (OSError, RuntimeError) as error:  # no network, or a download cut short
        raise InputError(
            f"lpips: the weights of AlexNet cannot be had ({error}); put torchvision's file into "
            f"{torch.hub.get_dir()}/checkpoints, or leave lpips out"
        ) from None

    def distance(picture: Tensor, target: Tensor) -> float:
        return network(picture[None].to(device), target[None].to(device), normalize=True).item()

    return distance
