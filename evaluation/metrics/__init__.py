"""Metrics under their names: numbers that say how close a picture is to its target.

Every file in this folder is imported here, so a new metric is one new file with a class under `@register("name")`; then
test.py, validation, `tools.trial` and `tools.bench compare` take its name. Names that are not ours are looked up in the
optional package pyiqa.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.metrics.registry import Metric, register, registry
from utils.errors import InputError, shortened
from utils.registry import import_folder

import_folder(sys.modules[__name__])

from evaluation.metrics.iqa import PyIQA  # noqa: E402 (imported above with the others)

DEFAULT = ("psnr", "ssim")


def make_metrics(specs: Sequence[str | Mapping[str, Any]] = DEFAULT) -> dict[str, Metric]:
    """The metrics of a list such as `[psnr, {lpips: {net: vgg}}, dists]` under the names that results give them.

    InputError for an unknown name, a wrong argument, a name that stands twice, and a package or weights that are not
    there.
    """
    made: dict[str, Metric] = {}
    for spec in specs:
        if isinstance(spec, Mapping) and len(spec) == 1:
            name, args = next(iter(spec.items()))
        else:
            name, args = spec, None
        if not isinstance(name, str) or not isinstance(args, Mapping | None):
            raise InputError(f"metrics: expected a name or {{name: {{argument: value}}}}, not {shortened(spec)}")
        if name in registry.factories:
            metric = registry.make({"name": name, "args": args})
        else:
            metric = PyIQA(name, **(args or {}))
        label = "-".join([name, *(str(value) for value in (args or {}).values())])
        metric.heading += label[len(name) :]
        if label in made:
            raise InputError(f"metrics: {label} stands twice; remove one")
        made[label] = metric
    return made


__all__ = ["DEFAULT", "Metric", "make_metrics", "register", "registry"]
