"""Losses under their registry names; every file in this folder is imported here, so a new loss is one new file.

A loss is registered as a class or function that returns a callable (values, targets) -> scalar, for tensors (B, Q, 3)
in the normalised range. It may take, beside arguments of a config: `window`, the (h, w) whose pixels in row-major order
the queries are; `gt`, the normalisation of the range; `model`, which is trained. A module may keep parameters of its
own; one with `train_step()` trains them after each step of the model, and its state is saved with the run.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models.normalization import Affine
from utils.config import POSITIVE, check
from utils.errors import InputError, shortened
from utils.registry import Registry, arguments_of, import_folder

registry = Registry("loss")
register = registry.register


@dataclass
class Loss:
    """A weighted sum of losses; those that are modules with a state are in `trained`."""

    weighted: list[tuple[float, Callable[[Tensor, Tensor], Tensor]]]
    trained: dict[str, nn.Module] = field(default_factory=dict)

    def __call__(self, values: Tensor, targets: Tensor) -> Tensor:
        """(B, Q, 3) and (B, Q, 3) -> scalar."""
        return sum(weight * loss(values, targets) for weight, loss in self.weighted)

    def train_step(self) -> None:
        """Let losses with parameters of their own learn from what they have seen since the last call."""
        for loss in self.trained.values():
            loss.train_step()

    def state_dict(self) -> dict[str, Any]:
        return {name: loss.saved_state() for name, loss in self.trained.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """InputError when the `state` is not of these losses."""
        for name, loss in self.trained.items():
            try:
                loss.load_saved_state(state[name])
            except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                raise InputError(f"the state of the loss '{name}' does not fit ({shortened(str(error))})") from None


def make_loss(
    spec: str | Mapping[str, Any],
    window: tuple[int, int] | None = None,
    gt: Affine | None = None,
    model: nn.Module | None = None,
    device: torch.device | None = None,
) -> Loss:
    """The loss of a config: a name, or a weighted sum `{l1: 1, charbonnier: {weight: 0.1, eps: 1e-6}}`.

    InputError for unknown names and arguments, for weights that are not above 0, and for losses of windows without one.
    """
    if not spec:
        raise InputError("loss is empty; name one or give names and weights such as {l1: 1, mse: 0.1}")
    entries = {spec: 1} if isinstance(spec, str) else spec
    given = {"window": window, "gt": Affine((0.0,), (1.0,)) if gt is None else gt, "model": model}
    made = Loss([])
    for name, entry in entries.items():
        args = dict(entry) if isinstance(entry, Mapping) else {"weight": entry}
        weight = args.pop("weight", 1)
        check(f"loss.{name}", weight, POSITIVE)
        takes = arguments_of(registry.factories[name])[0] if name in registry.factories else ()
        if "window" in takes and window is None:
            raise InputError(
                f"loss '{name}' compares neighbouring pixels, but the queries are random points; set sample_window: "
                "true in train_dataset.wrapper.args"
            )
        loss = registry.make({"name": name, "args": args}, **{key: given[key] for key in given if key in takes})
        if isinstance(loss, nn.Module):
            loss.to(device)
            if hasattr(loss, "train_step"):
                made.trained[name] = loss
        made.weighted.append((weight, loss))
    return made


import_folder(sys.modules[__name__])
