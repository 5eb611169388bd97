"""Data sets under the registry names that configs of the authors use: pictures in folders, and wrappers that turn them
into training samples.

Every file in this folder but the commands is imported here, so a new data set or wrapper is one new file.
"""

import sys
from collections.abc import Mapping
from typing import Any

from torch.utils.data import Dataset

from utils.config import MAPPING, check_keys, check_types, require, whole
from utils.registry import Registry, import_folder

registry = Registry("dataset")
register = registry.register
make = registry.make


def name_of(dataset: Dataset) -> str:
    """Registry name of a data set, for messages; the name of its class when that is not registered."""
    names = (name for name, factory in registry.factories.items() if factory is type(dataset))
    return next(names, type(dataset).__name__)


def make_wrapped(spec: Mapping[str, Any], where: str) -> Dataset:
    """The samples that a config's `{dataset: {...}, wrapper: {...}}` describes; `where` names it in errors."""
    check_types(spec, {"dataset": MAPPING, "wrapper": MAPPING, "batch_size": whole(1)}, where)
    check_keys(spec, ("dataset", "wrapper", "batch_size"), where)
    return make(require(spec, "wrapper", where), dataset=make(require(spec, "dataset", where)))


import_folder(sys.modules[__name__], without=("check", "teach"))
