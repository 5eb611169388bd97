"""What a validation measures beside PSNR."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from datasets.implicit import ImplicitDataset
from evaluation.measure import measure_pair
from evaluation.metrics import Protocol, ssim
from evaluation.perceptual import SMALLEST, load_lpips
from models.upscaler import Upscaler
from utils.errors import InputError, nearest_name
from utils.pictures.similarity import WINDOW
from utils.pictures.tensors import to_tensor
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
    gives whole pictures."""
    distance = load_lpips(upscaler.device) if "lpips" in names else None
    rows = []
    with repeatable():
        for scores, picture, target in _outputs(upscaler, samples, protocol, queries):
            if distance is not None:
                scores = {**scores, "lpips": distance(picture.clamp(0, 1), target)}
            rows.append(scores)
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}


def _outputs(
    upscaler: Upscaler, samples: ImplicitDataset, protocol: Protocol, queries: int | None
) -> Iterator[tuple[Mapping[str, float], Tensor, Tensor]]:
    """Of each item the scores, the picture or window (3, H, W) that comes out, and its target, in [0, 1]."""
    for index in range(len(samples)):
        if samples.sample_q is None:
            lr, hr = map(to_tensor, samples.pair(index))
            scores, picture = measure_pair(upscaler, lr, hr, protocol, queries=queries)
            yield scores, picture, hr
            continue
        item = {key: value[None].to(upscaler.device) for key, value in samples[index].items()}
        values = upscaler.model(upscaler.normalization.inp.apply(item["inp"]), item["coord"], item["cell"])
        values = upscaler.normalization.gt.invert(values, channels_last=True).clamp(0, 1)
        picture, target = (x[0].T.unflatten(1, samples.window).cpu() for x in (values, item["gt"]))
        yield {"ssim": ssim(picture, target)}, picture, target
