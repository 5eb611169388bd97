"""What a validation measures beside PSNR."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from datasets.implicit import ImplicitDataset
from evaluation.measure import measure_pair
from evaluation.metrics import Protocol, ssim
from evaluation.perceptual import SMALLEST, load_lpips
from models.upscaler import Upscaler
from pictures.similarity import WINDOW
from pictures.tensors import to_tensor
from utils.errors import InputError, nearest_name
from utils.geometry.grids import Size
from utils.processes import shared_out
from utils.random_state import repeatable

SMALLEST_SIDES = {"ssim": WINDOW, "lpips": SMALLEST}


def check_metrics(names: Sequence[str], samples: ImplicitDataset | None) -> None:
    """InputError for unknown metrics, and for samples in which there is nothing for them: no whole pictures or windows
    of queries, or too small ones."""
    for name in names:
        if name not in SMALLEST_SIDES:
            raise InputError(f"val_metrics: unknown metric '{name}'; {nearest_name(name, SMALLEST_SIDES)}")
    if not names:
        return
    if samples is None:
        raise InputError("val_metrics needs a val_dataset; add one, or remove val_metrics")
    if samples.sample_q is not None and samples.window is None:
        raise InputError(
            f"val_metrics: {names[0]} compares pictures, but the queries are random points; set sample_window: true in "
            "val_dataset.wrapper.args"
        )
    sizes = [samples.window] if samples.window else [hr for _, hr in samples.possible_sizes()]
    smallest = min(map(min, sizes))
    for name in names:
        if smallest < SMALLEST_SIDES[name]:
            raise InputError(
                f"val_metrics: {name} needs sides of {SMALLEST_SIDES[name]} pixels, but val_dataset has {smallest}; "
                "raise sample_q or inp_size"
            )
    if "lpips" in names:
        load_lpips(torch.device("cpu"))  # whether it can be had should show now


@torch.inference_mode()
def extra_scores(
    upscaler: Upscaler,
    samples: ImplicitDataset,
    names: Sequence[str],
    protocol: Protocol,
    queries: int | None = None,
) -> dict[str, float]:
    """Means of the metrics `names` over a validation set, the same items each time; SSIM by the protocol where the set
    gives whole pictures. The processes of a job share the work, and each gets what one process alone would."""
    if not names:
        return {}
    distance = load_lpips(upscaler.device) if "lpips" in names else None

    def measure(item: Any) -> dict[str, float]:
        if samples.sample_q is None:
            lr, target = map(to_tensor, item)
            scores, picture = measure_pair(upscaler, lr, target, protocol, queries=queries)
        else:
            picture, target = window_of(upscaler, item, samples.window)
            scores = {"ssim": ssim(picture, target)}
        return scores if distance is None else {**scores, "lpips": distance(picture.clamp(0, 1), target)}

    with repeatable():
        draw = samples.pair if samples.sample_q is None else samples.__getitem__
        rows = list(shared_out(map(draw, range(len(samples))), measure))
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}


def window_of(upscaler: Upscaler, item: Mapping[str, Tensor], window: Size) -> tuple[Tensor, Tensor]:
    """What comes out at the queries of an item, and what should, as pictures (3, *window) in [0, 1]."""
    norm = upscaler.normalization
    inp, coord, cell = (item[key][None].to(upscaler.device) for key in ("inp", "coord", "cell"))
    values = norm.gt.invert(upscaler.model(norm.inp.apply(inp), coord, cell), channels_last=True).clamp(0, 1)
    picture, target = (colours.T.unflatten(1, window).cpu() for colours in (values[0], item["gt"]))
    return picture, target
