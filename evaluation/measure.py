"""Measuring models against target pictures: what validation during training and test.py share."""

from itertools import chain

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datasets.implicit import ImplicitDataset
from evaluation.metrics import Protocol, psnr
from models.upscaler import Upscaler
from pictures.tensors import to_tensor
from utils.errors import InputError
from utils.geometry.homographies import Homography
from utils.geometry.sizes import Scale, scale_text
from utils.processes import shared_out
from utils.random_state import repeatable

WARP_FRAME = 4  # LR pixels


def measure_pair(
    upscaler: Upscaler,
    lr: Tensor,
    hr: Tensor,
    protocol: Protocol,
    scale: Scale | None = None,
    queries: int | None = None,
) -> tuple[dict[str, float], Tensor]:
    """Render `lr` (3, h, w) at the size of `hr` (3, H, W), both in [0, 1]: metrics and the picture (3, H, W).

    `scale` (height, width) sets the protocol's shave where it is not the ratio of the sizes; `queries` as in
    `Upscaler.render`.
    """
    size = tuple(hr.shape[-2:])
    ratios = tuple(n / m for n, m in zip(size, lr.shape[-2:], strict=True))
    deviation = max(abs(ratio / factor - 1) for ratio, factor in zip(ratios, scale or ratios, strict=True))
    if deviation > 0.1 + 1 / min(lr.shape[-2:]):
        sizes = f"LR is {lr.shape[-1]}x{lr.shape[-2]}, HR {size[1]}x{size[0]}"
        raise InputError(f"the LR pictures do not fit the scale {scale_text(scale)}: {sizes}")
    picture = upscaler.render(upscaler.encode(lr), size, queries)[0].cpu()
    return protocol.measure(picture, hr, scale or ratios), picture


def measure_warp(
    upscaler: Upscaler, lr: Tensor, hr: Tensor, homography: Homography, protocol: Protocol
) -> tuple[dict[str, float], Tensor]:
    """Warp `lr` (3, h, w) to the size of `hr` (3, H, W), both in [0, 1], without antialiasing, as published: metrics
    over what lies WARP_FRAME LR pixels inside, and the picture (3, H, W)."""
    input_size, size = tuple(lr.shape[-2:]), tuple(hr.shape[-2:])
    picture = upscaler(lr, homography.grid(input_size, size, antialias=False))[0].cpu()
    return protocol.measure_warped(picture, hr, homography.interior(input_size, size, WARP_FRAME)), picture


@torch.inference_mode()
def validate(
    upscaler: Upscaler, samples: ImplicitDataset, protocol: Protocol, batch_size: int = 1, queries: int | None = None
) -> float:
    """Mean PSNR in dB over a validation set: whole pictures where it gives such, else over all its random queries. The
    processes of a job share the work, and each gets what one process alone would."""
    with repeatable():
        if samples.sample_q is None:
            pairs = (
                samples.pair(index) for index in range(len(samples))
            )  # by all: what they draw depends on those before

            def measure(pair: tuple) -> list[float]:
                return [measure_pair(upscaler, *map(to_tensor, pair), protocol, queries=queries)[0]["psnr"]]

            scores = list(chain(*shared_out(pairs, measure)))
            return sum(scores) / len(scores)
        model, norm = upscaler.model, upscaler.normalization

        def measure_batch(batch: dict[str, Tensor]) -> list[float]:
            batch = {key: value.to(upscaler.device) for key, value in batch.items()}
            values = model(norm.inp.apply(batch["inp"]), batch["coord"], batch["cell"])
            values = norm.gt.invert(values, channels_last=True).clamp(0, 1)
            return [psnr(value, target) for value, target in zip(values, batch["gt"], strict=True)]

        scores = list(chain(*shared_out(DataLoader(samples, batch_size=batch_size), measure_batch)))
        return sum(scores) / len(scores)
