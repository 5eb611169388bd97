"""Losses under their registry names; every file in this folder is imported here, so a new loss is one new file.

A loss is registered as a class or function that returns a callable (values, targets) -> scalar, for tensors (B, Q, 3)
in the normalised range.
"""

import sys
from collections.abc import Callable

from torch import Tensor

from utils.registry import Registry, import_folder

registry = Registry("loss")
register = registry.register


def make_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss with a config's `name`; InputError when there is none."""
    return registry.make({"name": name})


import_folder(sys.modules[__name__])
