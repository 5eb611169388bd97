"""Losses under their registry names; every file in this folder is imported here, so a new loss is one new file.

A loss is registered as a class or function that returns a callable (values, targets) -> scalar, for tensors (B, Q, 3)
in the normalised range. It may take `window`, the (h, w) whose pixels in row-major order the queries are, and `span`,
the length of the normalised range.
"""

import sys
from collections.abc import Callable, Mapping

from torch import Tensor

from utils.config import POSITIVE, check
from utils.errors import InputError
from utils.registry import Registry, arguments_of, import_folder

registry = Registry("loss")
register = registry.register


def make_loss(
    spec: str | Mapping[str, float], window: tuple[int, int] | None = None, span: float = 1
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a config: a name, or `{name: weight, ...}` for a weighted sum.

    `window` (h, w) and `span` are for the losses that take them. InputError for unknown names, for weights that are not
    above 0, and for losses of windows without one.
    """
    if isinstance(spec, str):
        return _make(spec, window, span)
    if not spec:
        raise InputError("loss is empty; name one or give names and weights such as {l1: 1, mse: 0.1}")
    for name, weight in spec.items():
        check(f"loss.{name}", weight, POSITIVE)
    losses = [(weight, _make(name, window, span)) for name, weight in spec.items()]
    return lambda values, targets: sum(weight * loss(values, targets) for weight, loss in losses)


def _make(name: str, window: tuple[int, int] | None, span: float) -> Callable[[Tensor, Tensor], Tensor]:
    takes = arguments_of(registry.factories[name])[0] if name in registry.factories else ()
    if "window" in takes and window is None:
        raise InputError(
            f"loss '{name}' compares neighbouring pixels, but the queries are random points; set sample_window: true "
            "in train_dataset.wrapper.args"
        )
    given = {"window": window, "span": span}
    return registry.make({"name": name}, **{key: given[key] for key in given if key in takes})


import_folder(sys.modules[__name__])
