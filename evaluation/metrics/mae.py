"""Mean absolute error."""

from torch import Tensor

from evaluation.metrics.registry import Metric, register


@register("mae")
class MeanAbsoluteError(Metric):
    """Mean absolute error in grey levels of 255."""

    heading = "MAE"
    lower_is_better = True
    digits = 3

    def __call__(self, picture: Tensor, target: Tensor) -> float:
        return 255 * (picture - target).double().abs().mean().item()
