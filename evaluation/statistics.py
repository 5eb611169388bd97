"""Means over the pictures of a set, their intervals, and differences between models."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pictures.similarity import EXACT

RESAMPLES = 10_000
Scores = Mapping[str, float]
Rows = Mapping[str, Mapping[str, Scores]]  # {picture: {label of a model: {metric: score}}}


class Estimate(NamedTuple):
    """A mean over pictures with its 95 % bootstrap interval, which one picture alone does not have."""

    mean: float
    low: float | None
    high: float | None


def exact_pictures(rows: Rows) -> list[str]:
    """Pictures that a model renders exactly, such as flat ones: their PSNR, capped at EXACT, would lift every mean.
    None where all are."""
    exact = [
        name
        for name, row in rows.items()
        if any(scores.get(metric, 0) >= EXACT for scores in row.values() for metric in ("psnr", "mpsnr"))
    ]
    return exact if len(exact) < len(rows) else []


def values(rows: Rows, label: str, metric: str) -> np.ndarray:
    """Scores of a model on the pictures that are not exact, in order."""
    apart = set(exact_pictures(rows))
    return np.array([row[label][metric] for name, row in rows.items() if name not in apart], dtype=float)


def means(rows: Rows) -> dict[str, dict[str, float]]:
    """Mean over the pictures that are not exact for each model and metric."""
    labels = next(iter(rows.values()))
    return {
        label: {metric: float(values(rows, label, metric).mean()) for metric in scores}
        for label, scores in labels.items()
    }


def estimates(rows: Rows, metrics: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """{label: {metric: mean and interval}}."""
    labels = next(iter(rows.values()))
    return {label: {metric: estimate(values(rows, label, metric)) for metric in metrics} for label in labels}


def differences(rows: Rows, metrics: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """As `estimates`, of the differences to the first model, picture by picture, for all others."""
    first, *others = next(iter(rows.values()))
    return {label: {m: estimate(values(rows, label, m) - values(rows, first, m)) for m in metrics} for label in others}


def estimate(scores: np.ndarray) -> Estimate:
    """The mean and the interval between the 2.5th and 97.5th percentile of means over as many pictures drawn with
    replacement (Efron's percentile bootstrap), the same draws each time."""
    if len(scores) < 2 or not np.isfinite(scores).all():
        return Estimate(float(scores.mean()), None, None)
    drawn = np.random.default_rng(0).integers(0, len(scores), (RESAMPLES, len(scores)))
    low, high = np.percentile(scores[drawn].mean(1), (2.5, 97.5))
    return Estimate(float(scores.mean()), float(low), float(high))
