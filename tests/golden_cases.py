"""Inputs and outputs of the authors' published programs (tests/golden) and the rule that fills their parameters."""

import json
import zlib
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models import ContinuousModel, Field
from models.resampling.resampler import Resampler
from utils.geometry.grids import OutputGrid

FOLDER = Path(__file__).parent / "golden"


def manifest(kind: str) -> dict[str, dict[str, Any]]:
    """The cases of a folder of golden files, by name."""
    return {case["name"]: case for case in json.loads((FOLDER / kind / "manifest.json").read_text())}


def arrays(kind: str, name: str) -> dict[str, Tensor]:
    """The tensors of one case."""
    with np.load(FOLDER / kind / "cases.npz") as stored:
        keys = [key for key in stored.files if key.startswith(f"{name}/")]
        return {key.removeprefix(f"{name}/"): torch.from_numpy(stored[key]) for key in keys}


def fill(model: nn.Module) -> nn.Module:
    """Give every parameter the values that follow from its name, as when the golden outputs were made."""
    for name, parameter in model.named_parameters():
        parameter.data = torch.from_numpy(values_of(name, tuple(parameter.shape)).copy())
    return model.eval()


@cache
def values_of(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The values of one parameter; kept, because many cases have the same encoder."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) >= 2:
        values *= 0.7 / np.sqrt(values.size / values.shape[0])
    elif name.endswith("weight"):
        values = 1 + 0.1 * values
    else:
        values *= 0.1
    return values.astype(np.float32)


def histogram(difference: Tensor) -> str:
    """How many values differ by how much, for the message of a failing comparison."""
    magnitudes = difference.abs().flatten()
    edges = [0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, float("inf")]
    counts = [int(((magnitudes >= low) & (magnitudes < high)).sum()) for low, high in pairwise(edges)]
    return ", ".join(f"from {low:g}: {count}" for low, count in zip(edges, counts, strict=False) if count)


def assert_close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Fail with an error histogram when any value differs by `tolerance` or more."""
    assert actual.shape == expected.shape
    difference = (actual - expected).abs()
    assert bool((difference < tolerance).all()), histogram(difference)


def painted(model: ContinuousModel, field: Field, grid: OutputGrid) -> Tensor:
    """(B, C, H, W), normalised: what a model paints on a grid, zero elsewhere."""
    channels = field.table.shape[-1] // (1 + len(model.kernel.hyper_parameters)) if isinstance(model, Resampler) else 3
    output = torch.zeros(field.batch, channels, *grid.size)
    model.paint(field, grid, output)
    return output
