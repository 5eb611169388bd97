"""The interface of metrics, and their registry."""

from abc import ABC, abstractmethod

from torch import Tensor

from utils.registry import Registry

registry = Registry("metric")
register = registry.register


class Metric(ABC):
    """A number for a picture and its target, both (C, H, W) in [0, 1].

    `lower_is_better` ranks tables; `digits` are decimals in them; `heading` stands above them. A side below
    `smallest_side` pixels cannot be measured. With `whole_rgb` the metric compares whole RGB pictures whatever the
    protocol cuts off or converts, as perceptual metrics are published; with `network` it is given tensors on the device
    of the models, else on the CPU.
    """

    heading: str
    lower_is_better = False
    digits = 4
    smallest_side = 1
    whole_rgb = False
    network = False

    @abstractmethod
    def __call__(self, picture: Tensor, target: Tensor) -> float: ...
