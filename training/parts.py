"""Parts of the train loop: sample order, repeatable items, parts of a batch, averaged weights, intervals."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler

from utils.errors import InputError
from utils.processes import Stopped
from utils.random_state import mixed, repeatable


class EpochBatches(Sampler[list[tuple[int, int, int]]]):
    """Batches of (epoch, shuffled index, step) for one epoch, the same for the same (seed, epoch); `first` skips those
    already done. Of each, `processes` get about as many items, and this is what the one of that `rank` gets.

    `len(self)` counts whole batches of the full epoch; a rest smaller than a batch is left out.
    """

    def __init__(self, items: int, batch_size: int, seed: int, rank: int = 0, processes: int = 1):
        if items < batch_size:
            raise InputError(
                f"the training set has {items} items, fewer than one batch of {batch_size}; raise its 'repeat'"
            )
        if batch_size < processes:
            raise InputError(
                f"batch_size is {batch_size}; expected at least one item for each of the {processes} processes"
            )
        self.part = batch_size * rank // processes, batch_size * (rank + 1) // processes
        self.items = items
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.first = 0

    def __len__(self) -> int:
        return self.items // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        generator = torch.Generator().manual_seed(mixed(self.seed, self.epoch))
        order = torch.randperm(self.items, generator=generator).tolist()
        begin, end = self.part
        for batch in range(self.first, len(self)):
            step = (self.epoch - 1) * len(self) + batch
            indices = order[batch * self.batch_size + begin : batch * self.batch_size + end]
            yield [(self.epoch, index, step) for index in indices]


class SeededItems(Dataset):
    """Item (epoch, index, step) of `dataset` with random numbers of its own, so that neither the number of data workers
    nor what was drawn before changes it. A data set that follows a schedule, one with `at_step`, is told the step."""

    def __init__(self, dataset: Dataset, seed: int):
        self.dataset = dataset
        self.seed = seed

    def __getitem__(self, key: tuple[int, int, int]) -> Any:
        epoch, index, step = key
        if hasattr(self.dataset, "at_step"):
            self.dataset.at_step(step)
        with repeatable(mixed(self.seed, epoch, index)):
            return self.dataset[index]


def check_finite(losses: Iterable[float], weights: Iterable[Tensor], last_step: int) -> None:
    """Stopped, with exit status 1, when one of the `losses` of the steps up to `last_step`, or a weight, is not
    finite."""
    losses = list(losses)
    advice = "which a lower optimizer.args.lr may avoid"
    for step, loss in enumerate(losses, last_step - len(losses) + 1):
        if not math.isfinite(loss):
            raise Stopped(f"the loss of step {step} is {loss}, {advice}", 1)
    largest = nn.utils.get_total_norm(weights, math.inf).item()
    if not math.isfinite(largest):
        raise Stopped(f"the largest weight is {largest}, {advice}", 1)


def batch_parts(batch: Mapping[str, Tensor], count: int) -> Iterator[dict[str, Tensor]]:
    """The batch in `count` parts, or as many as it has items, whose numbers of items differ by 1 at most."""
    parts = min(count, len(next(iter(batch.values()))))
    for values in zip(*(value.tensor_split(parts) for value in batch.values()), strict=True):
        yield dict(zip(batch, values, strict=True))


def on_device(batches: Iterable[Mapping[str, Tensor]], device: torch.device) -> Iterator[dict[str, Tensor]]:
    """Batches on the device. On CUDA the next one is copied, from pinned memory and on a stream of its own, while a
    step computes."""
    if device.type != "cuda":
        yield from ({key: value.to(device) for key, value in batch.items()} for batch in batches)
        return
    stream = torch.cuda.Stream(device)

    def copied(batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], torch.cuda.Event]:
        with torch.cuda.stream(stream):
            there = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
            return there, stream.record_event()

    for batch, arrived in one_ahead(map(copied, batches)):
        torch.cuda.current_stream(device).wait_event(arrived)
        for value in batch.values():
            value.record_stream(torch.cuda.current_stream(device))
        yield batch


def one_ahead(items: Iterable[Any]) -> Iterator[Any]:
    """The items, each after the next one has been asked for."""
    iterator = iter(items)
    for held in iterator:
        for following in iterator:
            yield held
            held = following
        yield held


@torch.no_grad()
def average(mean: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the parameters of `mean` to those of `model` by 1 - `decay`; faster in the first steps, so that the random
    weights from before the training do not stay in it."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(mean.parameters()), list(model.parameters()), weight)
    for value, target in zip(mean.buffers(), model.buffers(), strict=True):
        value.copy_(target)


class Interval:
    """Tells when something is due again: every so many `steps`, or `minutes`."""

    def __init__(self, steps: int | None, minutes: float | None):
        self.steps = steps
        self.minutes = minutes
        self.last = time.monotonic()

    def due(self, step: int) -> bool:
        if self.steps is not None:
            return step % self.steps == 0
        if time.monotonic() < self.last + 60 * self.minutes:
            return False
        self.last = time.monotonic()
        return True
