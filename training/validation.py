"""Validation sets of trainings: whether one fits, and what is shown of it."""

from collections.abc import Mapping
from typing import Any

import torch
from torchvision.utils import make_grid

import models
from datasets.implicit import ImplicitDataset
from evaluation.measure import measure_pair
from evaluation.metrics import Protocol, find_protocol
from models.upscaler import Upscaler
from utils.errors import InputError
from utils.pictures.tensors import to_tensor
from utils.random_state import repeatable


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


def validation_picture(upscaler: Upscaler, samples: ImplicitDataset) -> torch.Tensor:
    """The first validation item side by side: input (nearest), output, target."""
    with repeatable():
        lr, hr = map(to_tensor, samples.pair(0))
    nearest = Upscaler(models.make({"name": "nearest"}))
    pictures = [measure_pair(u, lr, hr, find_protocol("rgb"))[1] for u in (nearest, upscaler)]
    return make_grid([*pictures, hr])
