"""Calibration of scale tables: errors of rendering at lower scales, and thresholds from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.cmsr.rendering import MEASURES, Level, level_size
from models.cmsr.tables import PUBLISHED
from models.decoders.lmf import LMFDecoder, ModulatedField
from models.upscaler import Upscaler
from utils.geometry.grids import Grid, Size, pixel_centers, pixel_index
from utils.geometry.sizes import output_size

CANDIDATES = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)
STEPS = 101  # intensities that the published rule tries
WINDOW = 0.001  # around each of them


@dataclass(frozen=True)
class LevelErrors:
    """Errors of a lower `scale` on one picture: for each LR pixel (N,) its measure, its squared error against full
    rendering (mean over channels, summed over its positions), and the number of its positions."""

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
def level_errors(upscaler: Upscaler, latent: Any, target: float, measure: str, rule: str) -> list[LevelErrors]:
    """The errors of every candidate scale below `target` on one encoded picture.

    The `published` rule truncates levels' sizes, does not clip their cells at the trained scale, and compares
    normalised values.
    """
    model: LMFDecoder = upscaler.model
    image, published = latent.image, rule == PUBLISHED
    input_size: Size = tuple(image.shape[-2:])
    size = output_size(input_size, (target, target))
    grid = Grid.of_size(size)
    made = model.field(latent, model.cell(latent, grid))
    full = painted(model, made, grid)
    owner = _owners(size, input_size).to(image.device)
    value = MEASURES[measure](model, made, image)[0].flatten()
    found = []
    for scale in (candidate for candidate in CANDIDATES if candidate < target):
        grid = Grid.of_size(level_size(scale, input_size, size, published))
        cell = grid.cell(input_size, None).to(image.device)[None] if published else model.cell(latent, grid)
        picture = painted(model, model.with_cell(made, cell), grid)
        difference = F.interpolate(picture, size, mode="bilinear", align_corners=False) - full
        if not published:
            difference = upscaler.normalization.gt.invert(full + difference) - upscaler.normalization.gt.invert(full)
        squared, zero = difference.square().mean(1).flatten(), torch.zeros_like(value)
        error, count = (zero.index_add(0, owner, values) for values in (squared, torch.ones_like(squared)))
        found.append(LevelErrors(scale, value, error, count))
    return found


def _owners(size: Size, input_size: Size) -> Tensor:
    """(H * W,) the LR pixel that holds each position of an (H, W) grid."""
    rows, columns = (pixel_index(pixel_centers(n), m) for n, m in zip(size, input_size, strict=True))
    return (rows[:, None] * input_size[1] + columns).flatten()


def published_levels(
    pictures: Sequence[Sequence[LevelErrors]], target: float, mse: float, largest: float
) -> dict[float, float]:
    """LMF's rule: {scale: threshold} from the `level_errors` of every picture, one after another.

    For each picture, 101 intensities from 0 to `largest` are open. A level, from the lowest scale on, tries them
    upwards, each with the pixels within 0.001 of it, and stops at the first whose error exceeds `mse`; those that pass
    are closed for the levels that follow. A threshold is the last step that passed; it only falls from picture to
    picture, and lower levels are never above it.
    """
    scales = [level.scale for level in pictures[0]]
    table = dict.fromkeys([*scales, target], 1.0)

    def lower(scale: float, threshold: float) -> None:
        table[scale] = threshold
        for below in (other for other in table if other < scale):
            table[below] = min(table[below], threshold)

    for levels in pictures:
        opened = torch.linspace(0, largest, STEPS).tolist()
        for level in levels:
            best = table[level.scale]
            distance = level.measure - torch.tensor(opened, device=level.measure.device)[:, None]
            near = (distance.abs() <= WINDOW).double()
            errors, counts = (near @ part.double() for part in (level.error, level.count))
            closed = set()
            for step, error, count in zip(opened, errors.tolist(), counts.tolist(), strict=True):
                if count and error > mse * count:
                    break
                if count:
                    best = step
                    closed.add(step)
            opened = [step for step in opened if step not in closed]
            lower(level.scale, min(table[level.scale], best))
        if opened:
            lower(target, opened[-1])
    return table


def pooled_threshold(pictures: Sequence[LevelErrors], mse: float) -> float:
    """Largest measure up to which the error of all pixels of all pictures, easiest first, averages to `mse`."""
    measure, error, count = (torch.cat([getattr(p, name) for p in pictures]) for name in ("measure", "error", "count"))
    order = measure.argsort()
    within = error[order].double().cumsum(0) <= mse * count[order].double().cumsum(0)
    return float(measure[order][within.nonzero().max()]) if within.any() else 0.0


def make_levels(
    pictures: Sequence[Sequence[LevelErrors]], target: float, rule: str, mse: float, largest: float
) -> tuple[Level, ...]:
    """The levels of a target scale from the `level_errors` of every picture, by the `published` rule, or `pooled`, with
    one error budget for all pictures; thresholds never fall as the scale rises."""
    if rule == PUBLISHED:
        return tuple(Level(*level) for level in published_levels(pictures, target, mse, largest).items())
    found = torch.tensor([pooled_threshold(levels, mse) for levels in zip(*pictures, strict=True)])
    smallest = found.cummax(0).values if len(found) else found
    scales = [level.scale for level in pictures[0]]
    return (*(Level(s, float(t)) for s, t in zip(scales, smallest, strict=True)), Level(target, 1.0))
