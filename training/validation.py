"""Validation sets of trainings: whether one fits, and what is shown of it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import pad

import models
from datasets.implicit import ImplicitDataset
from evaluation.measure import measure_pair
from evaluation.protocols import Protocol, find_protocol
from models.upscaler import Upscaler
from pictures.tensors import to_tensor
from utils.errors import InputError
from utils.random_state import repeatable

STRIP_ITEMS, STRIP_SIDE, STRIP_GAP = 3, 256, 2


def check_validation(samples: ImplicitDataset, protocol: Protocol, spec: Mapping[str, Any]) -> None:
    """InputError for a validation set (`spec` in the config) that is empty, broken, or does not fit the protocol."""
    if len(samples) == 0:
        raise InputError("val_dataset is empty; remove it or give it pictures")
    if samples.sample_q is not None and protocol.name != "rgb":
        raise InputError(
            f"eval_type '{protocol.name}' needs whole pictures; remove sample_q and inp_size from val_dataset"
        )
    if samples.sample_q is not None:
        samples.check_batches(spec.get("batch_size", 1))
    with repeatable():
        samples[0]


def validation_strip(upscaler: Upscaler, samples: ImplicitDataset) -> torch.Tensor:
    """(3, H, W) in [0, 1]: the first validation items, always the same parts of them, a row each: input (nearest),
    output, target."""
    nearest = Upscaler(models.make({"name": "nearest"}))
    rows = []
    for index in range(min(STRIP_ITEMS, len(samples))):
        with repeatable(index):
            lr, hr = map(to_tensor, samples.pair(index))
        pictures = [measure_pair(u, lr, hr, find_protocol("rgb"))[1] for u in (nearest, upscaler)]
        rows.append(torch.cat([centre(picture) for picture in (*pictures, hr)], dim=2))
    width = max(row.shape[2] for row in rows)
    return torch.cat([pad(row, (0, width - row.shape[2], 0, STRIP_GAP), value=1.0) for row in rows], dim=1)


def centre(picture: torch.Tensor) -> torch.Tensor:
    """The middle of a (3, H, W) picture, at most STRIP_SIDE a side, with a white gap at its right."""
    for axis in (1, 2):
        side = picture.shape[axis]
        picture = picture.narrow(axis, max(0, side - STRIP_SIDE) // 2, min(side, STRIP_SIDE))
    return pad(picture, (0, STRIP_GAP), value=1.0)
