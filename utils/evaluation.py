"""Measuring models against target pictures: what validation during training and test.py share."""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datasets.implicit import ImplicitDataset
from models.cmsr import ControlledPicture, Level
from utils.coords import Scale, Size, scale_text
from utils.errors import InputError
from utils.homographies import Homography, rotated_size
from utils.images import to_tensor
from utils.metrics import Protocol, psnr
from utils.scale_tables import ScaleTable
from utils.upscaler import Upscaler

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
    size = tuple(hr.shape[-2:])
    picture = upscaler.warp(upscaler.encode(lr), homography, size, antialias=False)[0][0].cpu()
    return protocol.measure_warped(picture, hr, homography.interior(tuple(lr.shape[-2:]), size, WARP_FRAME)), picture


def turned_back(upscaler: Upscaler, picture: Tensor, degrees: float) -> float:
    """PSNR in dB of the middle half of `picture` (3, h, w) in [0, 1] after turning it and turning it back."""
    size: Size = tuple(picture.shape[-2:])
    turned_size = rotated_size(size, degrees)
    there, back = Homography.rotation(degrees, size, turned_size), Homography.rotation(-degrees, turned_size, size)
    turned, _ = upscaler.warp(upscaler.encode(picture), there, turned_size)
    returned, _ = upscaler.warp(upscaler.encode(turned), back, size)
    height, width = size
    middle = (..., slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    return psnr(returned[0].cpu()[middle], picture[middle])


@dataclass(frozen=True)
class ControlReport:
    """What CMSR saved on one picture and what it cost: `picture` (3, H, W) in [0, 1] and the full rendering beside
    it."""

    scale: float
    picture: Tensor
    full: Tensor
    controlled: ControlledPicture
    seconds: float
    full_seconds: float

    def figures(self) -> dict[str, float]:
        """Share of the queries, time of the decoder against full rendering, and PSNR in dB between both."""
        return {
            "share": self.controlled.share,
            "decoder_seconds": self.seconds,
            "decoder_seconds_full": self.full_seconds,
            "psnr_to_full": psnr(self.picture, self.full),
        }

    def __str__(self) -> str:
        share, seconds, full_seconds, psnr_to_full = self.figures().values()
        return (
            f"CMSR: {share:.1%} of the queries, decoder {seconds:.2f} s instead of {full_seconds:.2f} s, "
            f"PSNR between both {psnr_to_full:.2f} dB"
        )


def control(upscaler: Upscaler, lr: Tensor, size: Size, table: ScaleTable, above: float) -> ControlReport:
    """Render `lr` (3, h, w) in [0, 1] at `size` with and without CMSR; up to the scale `above` both are full
    rendering."""
    latent = upscaler.encode(lr)
    scale = max(n / m for n, m in zip(size, lr.shape[-2:], strict=True))
    levels = table.levels_for(scale) if scale > above else (Level(scale, 1.0),)
    started = time.perf_counter()
    pictures, controlled = upscaler.render_controlled(latent, size, levels, table.measure)
    picture = pictures[0].cpu()
    rendered = time.perf_counter()
    full = upscaler.render(latent, size)[0].cpu()
    ended = time.perf_counter()
    return ControlReport(scale, picture, full, controlled, rendered - started, ended - rendered)


@contextmanager
def repeatable(seed: int = 0) -> Iterator[None]:
    """Fixed random numbers inside the block, the outer ones untouched: validation draws the same samples each time."""
    outer = random.getstate()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        torch.manual_seed(seed)
        yield
    random.setstate(outer)


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
