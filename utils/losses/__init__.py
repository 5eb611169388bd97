"""Losses under their registry names; every file in this folder is imported here, so a new loss is one new file.

A loss is registered as a class or function that returns a callable (values, targets) -> scalar, for tensors (B, Q, 3)
in the normalised range.
"""

import sys
from collections.abc import Callable, Mapping

from torch import Tensor

from utils.errors import InputError
from utils.kinds import POSITIVE, check
from utils.registry import Registry, import_folder

registry = Registry("loss")
register = registry.register


def make_loss(spec: str | Mapping[str, float]) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a config: a name, or `{name: weight, ...}` for a weighted sum. InputError for unknown names and for
    weights that are not above 0."""
    if isinstance(spec, str):
        return registry.make({"name": spec})
    if not spec:
        raise InputError("loss is empty; name one or give names and weights such as {l1: 1, mse: 0.1}")
    for name, weight in spec.items():
        check(f"loss.{name}", weight, POSITIVE)
    losses = [(weight, registry.make({"name": name})) for name, weight in spec.items()]
    return lambda values, targets: sum(weight * loss(values, targets) for weight, loss in losses)


import_folder(sys.modules[__name__])
