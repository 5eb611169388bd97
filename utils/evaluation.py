"""Measuring models against target pictures: what validation during training and test.py share."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datasets.implicit import ImplicitDataset
from utils.errors import InputError
from utils.images import to_tensor
from utils.metrics import Protocol, psnr
from utils.upscaler import Upscaler


def measure_pair(
    upscaler: Upscaler,
    lr: Tensor,
    hr: Tensor,
    protocol: Protocol,
    scale: float | None = None,
    queries: int | None = None,
) -> tuple[dict[str, float], Tensor]:
    """Render `lr` (3, h, w) at the size of `hr` (3, H, W), both in [0, 1]: metrics and the picture (3, H, W).

    `scale` sets the protocol's shave where it is not the ratio of the sizes; `queries` as in `Upscaler.render`.
    """
    size = tuple(hr.shape[-2:])
    picture = upscaler.render(upscaler.encode(lr), size, queries)[0].cpu()
    scales = (scale, scale) if scale else tuple(n / m for n, m in zip(size, lr.shape[-2:], strict=True))
    return protocol.measure(picture, hr, scales), picture


@contextmanager
def repeatable(seed: int = 0) -> Iterator[None]:
    """Fixed random numbers inside the block, the outer ones untouched: validation draws the same samples each time."""
    outer = random.getstate()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        torch.manual_seed(seed)
        yield
    random.setstate(outer)


def check_validation(samples: ImplicitDataset, protocol: Protocol) -> None:
    """InputError when a protocol that shaves a border is to be measured on random positions."""
    if samples.sample_q is not None and protocol.name != "rgb":
        raise InputError(
            f"eval_type '{protocol.name}' needs whole pictures; remove sample_q and inp_size from val_dataset"
        )


@torch.inference_mode()
def validate(
    upscaler: Upscaler, samples: ImplicitDataset, protocol: Protocol, batch_size: int = 1, queries: int | None = None
) -> float:
    """Mean PSNR in dB over a validation set: whole pictures where it gives such, else over all its random queries."""
    with repeatable():
        if samples.sample_q is None:
            pairs = (samples.pair(index) for index in range(len(samples)))
            scores = [
                measure_pair(upscaler, *map(to_tensor, pair), protocol, queries=queries)[0]["psnr"] for pair in pairs
            ]
            return sum(scores) / len(scores)
        model, norm = upscaler.model, upscaler.normalization
        scores = []
        for batch in DataLoader(samples, batch_size=batch_size):
            batch = {key: value.to(upscaler.device) for key, value in batch.items()}
            values = model(norm.inp.apply(batch["inp"]), batch["coord"], batch["cell"])
            values = norm.gt.invert(values, channels_last=True).clamp(0, 1)
            scores += [psnr(value, target) for value, target in zip(values, batch["gt"], strict=True)]
        return sum(scores) / len(scores)
