"""Figures of tools.bench: in each round the candidates run in turn, so a busy machine slows all of them alike.

Figures are medians over rounds. Ratios are taken within a round; seconds are only meaningful on a quiet machine.
"""

import platform
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import models
from models.checkpoints.loading import load_upscaler
from models.upscaler import Upscaler
from utils.config import load_config, require


@dataclass(frozen=True)
class Figure:
    """A measured quantity."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: list[float]) -> "Figure":
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.4g} ({self.lowest:.4g} to {self.highest:.4g})"


def in_turn(runs: Mapping[Hashable, Callable[[], Any]], repeats: int) -> dict[Any, list[float]]:
    """Seconds of each candidate in every round, after a warm-up."""
    for run in runs.values():
        run()
    times = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return times


def ratio(above: list[float], below: list[float], factor: float = 1.0) -> Figure:
    """above / (below * factor), round by round."""
    return Figure.of([a / (b * factor) for a, b in zip(above, below, strict=True)])


def load(model: str, backend: str = "auto") -> Upscaler:
    """A checkpoint or filter, or the untrained model of a training config."""
    if not model.endswith((".yaml", ".yml")):
        return load_upscaler(model, backend=backend)
    torch.manual_seed(0)
    return Upscaler(models.make(require(load_config(model), "model", model)).eval(), backend=backend)


def short_name(model: str) -> str:
    """Name of a model in figures."""
    return Path(model).stem.removeprefix("train_")


def machine() -> dict[str, str]:
    """Processor and versions."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = f"{names[0]} x {len(names)}" if names else cpu
    return {"cpu": cpu, "python": platform.python_version(), "torch": torch.__version__}
