"""The registry of data sets, under the names that the authors' configs use."""

from collections.abc import Mapping
from typing import Any

from torch.utils.data import Dataset

from utils.config import check_keys, require
from utils.registry import Registry

registry = Registry("dataset")
register = registry.register
make = registry.make


def make_wrapped(spec: Mapping[str, Any], where: str) -> Dataset:
    """The samples that a config's `{dataset: {...}, wrapper: {...}}` describes; `where` names it in errors."""
    check_keys(spec, ("dataset", "wrapper", "batch_size"), where)
    return make(require(spec, "wrapper", where), dataset=make(require(spec, "dataset", where)))
