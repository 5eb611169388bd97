"""Validation during training: which metrics a validation set allows, and their means over it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datasets.implicit import ImplicitDataset
from evaluation.measure import measure_pair
from evaluation.metrics import Metric, make_metrics
from evaluation.protocols import Protocol
from models.upscaler import Upscaler
from pictures.similarity import EXACT, psnr
from pictures.tensors import to_tensor
from utils.errors import InputError
from utils.processes import shared_out
from utils.random_state import repeatable


def check_metrics(metrics: Mapping[str, Metric], samples: ImplicitDataset | None) -> None:
    """InputError for samples in which there is nothing for metrics beside PSNR: no whole pictures or windows of
    queries, or too small ones."""
    if not metrics:
        return
    if samples is None:
        raise InputError("val_metrics needs a val_dataset; add one, or remove val_metrics")
    if samples.sample_q is not None and samples.window is None:
        raise InputError(
            f"val_metrics: {next(iter(metrics))} compares pictures, but the queries are random points; set "
            "sample_window: true in val_dataset.wrapper.args"
        )
    sizes = [samples.window] if samples.window else [hr for _, hr in samples.possible_sizes()]
    smallest = min(map(min, sizes))
    for name, metric in metrics.items():
        if smallest < metric.smallest_side:
            raise InputError(
                f"val_metrics: {name} needs sides of {metric.smallest_side} pixels, but val_dataset has {smallest}; "
                "raise sample_q or inp_size"
            )


@torch.inference_mode()
def validate(
    upscaler: Upscaler,
    samples: ImplicitDataset,
    protocol: Protocol,
    batch_size: int = 1,
    queries: int | None = None,
    metrics: Mapping[str, Metric] | None = None,
) -> dict[str, float]:
    """Means over a validation set: `psnr` in dB, `psnr_item`, and any `metrics`, of whole pictures where the set gives
    such, else of its random queries.

    As in the published programs, `psnr` is the mean over batches of the PSNR of a batch's mean error; `psnr_item` is
    the mean of each item's own PSNR. PSNR from EXACT on is left out of both, unless all of it is. The processes of a
    job share the work, and each gets what one process alone would.
    """
    upscaler = replace(upscaler, safeguards=False)  # as papers measure
    norm, others = upscaler.normalization, dict(metrics or {})

    def of_picture(pair: tuple) -> list[dict[str, float]]:
        scores, _ = measure_pair(upscaler, *map(to_tensor, pair), protocol, None, queries, {**make_metrics(), **others})
        return [{"psnr_item": scores["psnr"], **{name: scores[name] for name in ("psnr", *others)}}]

    def of_batch(batch: Mapping[str, Tensor]) -> list[dict[str, float]]:
        batch = {key: value.to(upscaler.device) for key, value in batch.items()}
        values = upscaler.model(norm.inp.apply(batch["inp"]), batch["coord"], batch["cell"])
        values = norm.gt.invert(values, channels_last=True).clamp(0, 1)
        together, rows = min(psnr(values.cpu(), batch["gt"].cpu()), EXACT), []
        for value, target in zip(values, batch["gt"], strict=True):
            rows.append({"psnr": together, "psnr_item": min(psnr(value.cpu(), target.cpu()), EXACT)})
            if others:
                pictures = (colours.T.unflatten(1, samples.window) for colours in (value, target))
                rows[-1] |= protocol.measure(*pictures, (1, 1), others)
        return rows

    with repeatable():
        if samples.sample_q is None:
            pairs = (samples.pair(n) for n in range(len(samples)))  # by all: what they draw depends on those before
            rows = list(chain(*shared_out(pairs, of_picture)))
        else:
            rows = list(chain(*shared_out(DataLoader(samples, batch_size=batch_size), of_batch)))
    return {name: mean([row[name] for row in rows], EXACT if "psnr" in name else math.inf) for name in rows[0]}


def mean(values: Sequence[float], limit: float) -> float:
    """The mean of the values below `limit`, or `limit` where there are none."""
    below = [value for value in values if not value >= limit]
    return sum(below) / len(below) if below else limit
