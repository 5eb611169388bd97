"""Losses that look at colours apart from brightness."""

from collections.abc import Callable

from torch import Tensor

from training.losses import register


@register("chroma")
def make_chroma() -> Callable[[Tensor, Tensor], Tensor]:
    return chroma


def chroma(values: Tensor, targets: Tensor) -> Tensor:
    """Mean of how far each channel's error is from the mean of its pixel's errors.

    Put beside L1, which has no gradient against a false hue where brightness errs more, as at every sharp edge.
    """
    error = values - targets
    return (error - error.mean(-1, keepdim=True)).abs().mean()
