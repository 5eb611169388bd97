"""Share of queries that CMSR evaluates and PSNR that it loses, by error threshold, measure and rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.cmsr.calibration import LevelErrors, level_errors, make_levels
from models.cmsr.rendering import Level, render_controlled
from models.upscaler import Upscaler
from pictures.similarity import psnr


@dataclass(frozen=True)
class Point:
    """Over all test pictures: share of queries evaluated, and PSNR in dB lost to full rendering, mean and largest."""

    threshold: float
    share: float
    mean_loss: float
    largest_loss: float


def control_curve(
    upscaler: Upscaler,
    training: Sequence[Tensor],
    testing: Sequence[tuple[Tensor, Tensor]],
    target: float,
    measure: str,
    rule: str,
    thresholds: Sequence[float],
) -> list[Point]:
    """Make a scale table from the `training` LR pictures (3, h, w) for each threshold, and apply it to the `testing`
    pairs (lr, hr).

    `target` is the scale of the pairs; pictures are in [0, 1].
    """
    errors = [level_errors(upscaler, upscaler.encode(lr), target, measure) for lr in training]
    prepared = [(hr, latent := upscaler.encode(lr), psnr_of_full(upscaler, latent, hr)) for lr, hr in testing]
    return [try_threshold(upscaler, errors, prepared, target, measure, rule, threshold) for threshold in thresholds]


def psnr_of_full(upscaler: Upscaler, latent: Any, hr: Tensor) -> float:
    return psnr(upscaler.render(latent, tuple(hr.shape[-2:]))[0].cpu(), hr)


def try_threshold(
    upscaler: Upscaler,
    errors: Sequence[Sequence[LevelErrors]],
    prepared: Sequence[tuple[Tensor, Any, float]],
    target: float,
    measure: str,
    rule: str,
    threshold: float,
) -> Point:
    """One point of a curve."""
    levels: tuple[Level, ...] = make_levels(errors, target, rule, threshold, upscaler.model.intensity_range)
    queries, full, losses = 0, 0, []
    for hr, latent, best in prepared:
        controlled = render_controlled(upscaler, latent, tuple(hr.shape[-2:]), levels, measure)
        queries, full = queries + controlled.queries, full + controlled.full
        losses.append(best - psnr(controlled.picture[0].cpu(), hr))
    return Point(threshold, queries / full, torch.tensor(losses).mean().item(), max(losses))
