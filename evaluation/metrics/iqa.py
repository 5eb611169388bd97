"""Metrics of the optional package pyiqa, by its names."""

from typing import Any

from torch import Tensor

from evaluation.metrics.registry import Metric, registry
from utils.errors import InputError, nearest_name


class PyIQA(Metric):
    """Any metric of pyiqa's list by its name, such as dists, niqe or musiq; those without reference ignore the target.

    The package's licence (non-commercial in 2026) is the user's choice, so no requirement names it. InputError for an
    unknown name, and for weights that cannot be downloaded.
    """

    whole_rgb = True
    network = True

    def __init__(self, name: str, **args: Any):
        try:
            import pyiqa
        except ImportError as error:
            hint = nearest_name(name, registry.factories)
            raise InputError(
                f"unknown metric '{name}'; {hint}; or install pyiqa for the metrics of its list ({error})"
            ) from None
        known = pyiqa.list_models()
        if name not in known:
            raise InputError(f"unknown metric '{name}'; {nearest_name(name, [*registry.factories, *known])}")
        try:
            self.compute = pyiqa.create_metric(name, device="cpu", **args)
        except Exception as error:  # whatever a metric of another package raises for its arguments and downloads
            raise InputError(f"metric '{name}' of pyiqa cannot be made: {error or type(error).__name__}") from None
        self.heading, self.lower_is_better = name, bool(self.compute.lower_better)

    def __call__(self, picture: Tensor, target: Tensor) -> float:
        self.compute.to(picture.device)
        return float(self.compute(picture[None], target[None]))
