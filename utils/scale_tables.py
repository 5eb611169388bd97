"""scale2mod tables: for a target scale, up to which intensity an LR pixel may be rendered at which lower scale.

A file is YAML: `{6: {1: 0.32, 2: 0.41, 4: 0.55, 6: 1}}` as published, or the same under `scale2mod` beside what the
table was made of (`model`, `measure`, `rule`, `mse_threshold`, `data`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from models.cmsr import MEASURES, Level, level_size
from models.decoders.lmf import LMFDecoder
from utils.checkpoints import weights_hash
from utils.config import check_keys, plain_number
from utils.coords import Grid, Size, cell_of, output_size, pixel_centers, pixel_index
from utils.errors import InputError, nearest_name
from utils.files import atomic_file
from utils.upscaler import Upscaler

CANDIDATES = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)
STEPS = 101
WINDOW = 0.001
RULES = ("window", "pooled")
ABOUT = ("model", "measure", "rule", "mse_threshold", "data")


@dataclass(frozen=True)
class ScaleTable:
    """`levels` for each target scale, and what the table was made of (see ABOUT; empty for published ones)."""

    levels: Mapping[float, tuple[Level, ...]]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def measure(self) -> str:
        return self.about.get("measure", "intensity")

    def levels_for(self, scale: float) -> tuple[Level, ...]:
        """The levels of the smallest target that is not below `scale`, else of the largest one."""
        targets = sorted(self.levels)
        return self.levels[next((target for target in targets if target >= scale - 1e-6), targets[-1])]

    def notice(self, scale: float) -> str | None:
        """A line to show when no target reaches `scale`, so that the largest one is enlarged bilinearly."""
        largest = max(self.levels)
        if scale <= largest + 1e-6:
            return None
        return (
            f"the scale2mod table ends at x{largest:g}: x{scale:g} is enlarged from that; extend it with init_cmsr.py"
        )


def load_table(path: str | Path, model_hash: str | None = None, force: bool = False) -> ScaleTable:
    """Read a table; InputError when it is missing, malformed, or made for other weights than `model_hash` (unless
    `force`)."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"no scale2mod table {path}; make it with init_cmsr.py or give --cmsr_path") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise InputError(f"{path} is no scale2mod table: it is not YAML") from None
    about: dict[str, Any] = {}
    if isinstance(content, dict) and "scale2mod" in content:
        about = {key: value for key, value in content.items() if key != "scale2mod"}
        check_keys(about, ABOUT, str(path))
        content = content["scale2mod"]
    measure = str(about.get("measure", "intensity"))
    if measure not in MEASURES:
        raise InputError(f"{path}: unknown measure '{measure}'; {nearest_name(measure, MEASURES)}")
    if model_hash and about.get("model", model_hash) != model_hash and not force:
        raise InputError(
            f"{path} was made for the weights {about['model']}, not {model_hash}; make another or give --force"
        )
    try:
        levels = {float(target): _levels(entries) for target, entries in content.items()}
    except (AttributeError, TypeError, ValueError):
        levels = {}
    if not levels:
        raise InputError(f"{path} is no scale2mod table; expected {{6: {{1: 0.32, 2: 0.41, 6: 1}}}}")
    return ScaleTable(levels, about)


def save_table(path: str | Path, table: ScaleTable) -> None:
    """Write a table, all or nothing."""
    targets = {
        plain_number(target): {plain_number(level.scale): round(level.threshold, 6) for level in levels}
        for target, levels in sorted(table.levels.items())
    }
    with atomic_file(path) as temporary:
        temporary.write_text(yaml.safe_dump({**table.about, "scale2mod": targets}, sort_keys=False))


def _levels(entries: Mapping[Any, Any]) -> tuple[Level, ...]:
    """Levels in order of scale, whatever the order of the file; at least one."""
    levels = sorted(
        (Level(float(scale), float(threshold)) for scale, threshold in entries.items()), key=lambda v: v.scale
    )
    if not levels or any(level.scale <= 0 or level.threshold < 0 for level in levels):
        raise ValueError
    return tuple(levels)


@dataclass(frozen=True)
class LevelErrors:
    """What a lower `scale` costs on one picture: for each LR pixel (N,) its measure, squared error (in [0, 1], mean
    over channels, summed over its positions) against full rendering, and number of positions."""

    scale: float
    measure: Tensor
    error: Tensor
    count: Tensor


@torch.inference_mode()
def level_errors(upscaler: Upscaler, latent: Any, target: float, measure: str) -> list[LevelErrors]:
    """The errors of every candidate scale below `target` on one encoded picture."""
    model: LMFDecoder = upscaler.model
    image = latent.image
    input_size: Size = tuple(image.shape[-2:])
    size = output_size(input_size, (target, target))
    made = upscaler.field(latent, size)
    full = model.render(made, Grid.of_size(size, image.device))
    owner = _owners(size, input_size).to(image.device)
    value = MEASURES[measure](model, made, image)[0].flatten()
    found = []
    for scale in (candidate for candidate in CANDIDATES if candidate < target):
        level = level_size(scale, input_size, size)
        cell = cell_of(level, input_size, model.trained_scales[1]).to(image.device)[None]
        picture = model.render(model.with_cell(made, cell), Grid.of_size(level, image.device))
        picture = F.interpolate(picture, size, mode="bilinear", align_corners=False)
        norm = upscaler.normalization.gt
        squared = (norm.invert(picture) - norm.invert(full)).square().mean(1).flatten()
        zero = torch.zeros_like(value)
        found.append(
            LevelErrors(
                scale, value, zero.index_add(0, owner, squared), zero.index_add(0, owner, torch.ones_like(squared))
            )
        )
    return found


def _owners(size: Size, input_size: Size) -> Tensor:
    """(H * W,) the LR pixel that holds each position of an (H, W) grid."""
    rows, columns = (pixel_index(pixel_centers(n), m) for n, m in zip(size, input_size, strict=True))
    return (rows[:, None] * input_size[1] + columns).flatten()


def window_threshold(errors: LevelErrors, mse: float, largest: float) -> float:
    """The published rule: the last of 101 steps from 0 to `largest` before one around which the error exceeds `mse`.

    A step is judged by the pixels within 0.001 of it, and passes where there are none.
    """
    steps = torch.linspace(0, largest, STEPS, device=errors.measure.device)
    near = ((errors.measure - steps[:, None]).abs() <= WINDOW).to(errors.error.dtype)  # (101, N)
    passes = near @ errors.error <= mse * (near @ errors.count)
    passed = int(passes.long().cumprod(0).sum())
    return float(steps[passed - 1]) if passed else 0.0


def pooled_threshold(pictures: Sequence[LevelErrors], mse: float) -> float:
    """Ours: the largest measure up to which the error of all pixels of all pictures, easiest first, averages to
    `mse`."""
    measure, error, count = (torch.cat([getattr(p, name) for p in pictures]) for name in ("measure", "error", "count"))
    order = measure.argsort()
    within = error[order].double().cumsum(0) <= mse * count[order].double().cumsum(0)
    return float(measure[order][within.nonzero().max()]) if within.any() else 0.0


def make_levels(
    pictures: Sequence[Sequence[LevelErrors]], target: float, rule: str, mse: float, largest: float
) -> tuple[Level, ...]:
    """The levels of a target scale from the `level_errors` of every picture.

    `window` takes the smallest threshold of any picture, `pooled` one for all of them; neither falls as the scale
    rises."""
    thresholds = []
    if rule == "window":
        for errors in pictures:
            found = torch.tensor([window_threshold(level, mse, largest) for level in errors])
            thresholds.append(found.cummax(0).values if len(found) else found)
        smallest = torch.stack(thresholds).amin(0)
    else:
        found = torch.tensor([pooled_threshold(levels, mse) for levels in zip(*pictures, strict=True)])
        smallest = found.cummax(0).values if len(found) else found
    scales = [level.scale for level in pictures[0]]
    return (*(Level(s, float(t)) for s, t in zip(scales, smallest, strict=True)), Level(target, 1.0))


def check_controllable(upscaler: Upscaler, name: str | Path) -> None:
    """InputError for a model that has no modulations to control by."""
    if not isinstance(upscaler.model, LMFDecoder):
        raise InputError(f"{name} is no LM-LIIF, LM-LTE or LM-CiaoSR; CMSR needs one of these")


def find_table(upscaler: Upscaler, model: str | Path, path: str | None, mse: float | None, force: bool) -> ScaleTable:
    """The table at `path`, or of configs/cmsr/result the one of this model, of the error `mse` where it is given."""
    check_controllable(upscaler, model)
    if mse is not None and mse < 0:
        raise InputError(f"--cmsr_mse {mse:g}: expected a number from 0")
    name = Path(model).stem if mse is None else f"{Path(model).stem}_{mse:g}"
    path = path or f"configs/cmsr/result/{name}.yaml"
    return load_table(path, weights_hash(upscaler.model), force)
