"""How the thresholds of a scale table are found: what rendering at a lower scale costs, and which of it is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.cmsr.rendering import MEASURES, Level, level_size
from models.decoders.lmf import LMFDecoder, ModulatedField
from models.upscaler import Upscaler
from utils.geometry.grids import Grid, Size, pixel_centers, pixel_index
from utils.geometry.sizes import output_size

CANDIDATES = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)


STEPS = 101


WINDOW = 0.001


RULES = ("window", "pooled")


@dataclass(frozen=True)
class LevelErrors:
    """What a lower `scale` costs on one picture: for each LR pixel (N,) its measure, squared error (in [0, 1], mean
    over channels, summed over its positions) against full rendering, and number of positions."""

    scale: float
    measure: Tensor
    error: Tensor
    count: Tensor


def painted(model: LMFDecoder, field: ModulatedField, grid: Grid) -> Tensor:
    """(B, 3, H, W), normalised."""
    picture = field.table.new_empty(field.batch, 3, *grid.size)
    model.paint(field, grid, picture)
    return picture


@torch.inference_mode()
def level_errors(upscaler: Upscaler, latent: Any, target: float, measure: str) -> list[LevelErrors]:
    """The errors of every candidate scale below `target` on one encoded picture."""
    model: LMFDecoder = upscaler.model
    image = latent.image
    input_size: Size = tuple(image.shape[-2:])
    size = output_size(input_size, (target, target))
    grid = Grid.of_size(size)
    made = model.field(latent, model.cell(latent, grid))
    full = painted(model, made, grid)
    owner = _owners(size, input_size).to(image.device)
    value = MEASURES[measure](model, made, image)[0].flatten()
    found = []
    for scale in (candidate for candidate in CANDIDATES if candidate < target):
        grid = Grid.of_size(level_size(scale, input_size, size))
        picture = painted(model, model.with_cell(made, model.cell(latent, grid)), grid)
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
