"""scale2mod tables: for a target scale, up to which intensity an LR pixel may be rendered at which lower scale.

A file is YAML: `{6: {1: 0.32, 2: 0.41, 4: 0.55, 6: 1}}` as published, or the same under `scale2mod` beside what the
table was made of (`model`, `measure`, `rule`, `mse_threshold`, `data`, `precision`)."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from models.cmsr.rendering import MEASURES, Level
from models.decoders.lmf import LMFDecoder
from models.registry import weights_hash
from models.upscaler import Upscaler
from models.zoo import resolve
from utils.config import check_keys, plain_number, read_yaml, write_yaml
from utils.errors import InputError, nearest_name
from utils.files import atomic_file, from_anywhere, read_text

RULES = (PUBLISHED, POOLED) = ("published", "pooled")  # LMF's, and ours with one error budget for all pictures
ABOUT = ("model", "measure", "rule", "mse_threshold", "data", "precision")


@dataclass(frozen=True)
class ScaleTable:
    """`levels` for each target scale, and what the table was made of (see ABOUT; empty for published ones)."""

    levels: Mapping[float, tuple[Level, ...]]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def measure(self) -> str:
        return self.about.get("measure", "intensity")

    @property
    def truncates(self) -> bool:
        """Whether levels are rendered at int(h * scale): in tables of the published rule, or of an unknown one."""
        return self.about.get("rule", PUBLISHED) == PUBLISHED

    def levels_for(self, scale: float) -> tuple[Level, ...]:
        """The levels of the smallest target that is not below `scale`, else of the largest one."""
        targets = sorted(self.levels)
        return self.levels[next((target for target in targets if target >= scale - 1e-6), targets[-1])]

    def notice(self, scale: float) -> str | None:
        """A line to show when no target reaches `scale`, so that the largest one is enlarged bilinearly."""
        largest = max(self.levels)
        ends = f"the scale2mod table ends at x{largest:g}: x{scale:g} is enlarged from that"
        return f"{ends}; extend it with init_cmsr.py" if scale > largest + 1e-6 else None


def load_table(path: str | Path, model_hash: str | None = None, force: bool = False) -> ScaleTable:
    """Read a table; InputError when it is missing, malformed, or made for other weights than `model_hash` (unless
    `force`)."""
    if not os.path.exists(path):
        raise InputError(f"no scale2mod table {path}; make it with init_cmsr.py or give --cmsr_path")
    try:
        content = read_yaml(read_text(path, "scale2mod table"))
    except yaml.YAMLError:
        raise InputError(f"{path} is no scale2mod table: it is not YAML") from None
    about: dict[str, Any] = {}
    if isinstance(content, dict) and "scale2mod" in content:
        about, content = content, content.pop("scale2mod")
        check_keys(about, ABOUT, str(path))
    measure = str(about.get("measure", "intensity"))
    if measure not in MEASURES:
        raise InputError(f"{path}: unknown measure '{measure}'; {nearest_name(measure, MEASURES)}")
    if model_hash and about.get("model", model_hash) != model_hash and not force:
        made = f"made for the weights {about['model']}, not {model_hash}"
        raise InputError(f"{path} was {made}; make another or give --force")
    try:
        levels = {float(target): _levels(entries) for target, entries in content.items()}
    except (AttributeError, TypeError, ValueError, OverflowError):
        levels = {}
    if not levels or not all(0 < target < math.inf for target in levels):
        raise InputError(f"{path} is no scale2mod table; expected {{6: {{1: 0.32, 2: 0.41, 6: 1}}}}")
    return ScaleTable(levels, about)


def save_table(path: str | Path, table: ScaleTable) -> None:
    """Write a table, all or nothing."""
    targets = {
        plain_number(target): {plain_number(level.scale): round(level.threshold, 6) for level in levels}
        for target, levels in sorted(table.levels.items())
    }
    with atomic_file(path) as temporary:
        temporary.write_text(write_yaml({**table.about, "scale2mod": targets}))


def _levels(entries: Mapping[Any, Any]) -> tuple[Level, ...]:
    """Levels in order of scale, whatever the order of the file; at least one."""
    levels = [Level(*pair) for pair in sorted((float(scale), float(value)) for scale, value in entries.items())]
    if not levels or not all(0 < level.scale < math.inf and level.threshold >= 0 for level in levels):
        raise ValueError
    return tuple(levels)


def check_controllable(upscaler: Upscaler, name: str | Path) -> None:
    """InputError for a model without modulations."""
    if not isinstance(upscaler.model, LMFDecoder):
        raise InputError(f"{name} is no LM-LIIF, LM-LTE or LM-CiaoSR; CMSR needs one of these")


def find_table(upscaler: Upscaler, model: str | Path, path: str | None, mse: float | None, force: bool) -> ScaleTable:
    """The table at `path`, or of configs/cmsr/result the one of this model, of the error `mse` where it is given."""
    check_controllable(upscaler, model)
    if mse is not None and mse < 0:
        raise InputError(f"--cmsr_mse {mse:g}: expected a number from 0")
    stem = resolve(model).stem
    name = stem if mse is None else f"{stem}_{mse:g}"
    return load_table(from_anywhere(path or f"configs/cmsr/result/{name}.yaml"), weights_hash(upscaler.model), force)
