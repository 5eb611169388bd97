"""Parts of the train loop: optimisers, the learning rate as a function of the step, sample order, averaged weights."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler

from utils.config import Positive, between, check_keys, require
from utils.errors import InputError, nearest_name
from utils.processes import Stopped
from utils.random_state import mixed, repeatable
from utils.registry import Registry

optimizers = Registry("optimizer")
Betas = tuple[Annotated[float, between(0, 1)], Annotated[float, between(0, 1)]]
Weight = Annotated[float, between(0, 1e6)]
Rate = Annotated[float, between(0, 1e15)]  # 0 trains nothing, which shows what else changes


@optimizers.register("adam")
def adam(
    params: list,
    lr: Rate,
    betas: Betas = (0.9, 0.999),
    eps: Positive = 1e-8,
    weight_decay: Weight = 0,
    amsgrad: bool = False,
) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr, tuple(betas), eps, weight_decay, amsgrad)


@optimizers.register("adamw")
def adamw(
    params: list,
    lr: Rate,
    betas: Betas = (0.9, 0.999),
    eps: Positive = 1e-8,
    weight_decay: Weight = 0.01,
    amsgrad: bool = False,
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, lr, tuple(betas), eps, weight_decay, amsgrad)


@optimizers.register("sgd")
def sgd(
    params: list, lr: Rate, momentum: Weight = 0, weight_decay: Weight = 0, nesterov: bool = False
) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr, momentum, weight_decay=weight_decay, nesterov=nesterov)


def choose(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """`known[name]`, or InputError with the nearest name."""
    if name not in known:
        raise InputError(f"unknown {kind} '{name}'; {nearest_name(name, known)}")
    return known[name]


def make_optimizer(model: nn.Module, spec: Mapping[str, Any]) -> torch.optim.Optimizer:
    """`{name: adam | adamw | sgd, args: {lr: ...}}` over the model's trainable parameters."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise InputError("this model has no parameters to train")
    return optimizers.make(spec, params=parameters)


def load_optimizer(optimizer: torch.optim.Optimizer, state: Any, path: str | Path) -> None:
    """Take up the `state` in the file at `path`, but the optimiser's own settings; the learning rate is set in each
    step. InputError when it is of another model or optimiser."""
    settings = [
        {key: value for key, value in group.items() if key not in ("params", "lr")} for group in optimizer.param_groups
    ]
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: its optimizer state does not fit ({error!r}); use the file as 'init'") from None
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)


def load_scaler(scaler: torch.amp.GradScaler, state: Mapping[str, Any], path: str | Path) -> None:
    """Take up the `state` in the file at `path`; InputError when it is none of a gradient scaler."""
    numbers = [state.get(key) for key in ("scale", "growth_factor", "backoff_factor", "growth_interval")]
    if not all(isinstance(value, int | float) and value > 0 for value in numbers) or "_growth_tracker" not in state:
        raise InputError(f"{path}: its state of the gradient scaler does not fit; use the file as 'init'")
    scaler.load_state_dict(dict(state))


def check_schedule(config: Mapping[str, Any]) -> None:
    """InputError for misspelt keys, or for two learning-rate schedules at once."""
    check_keys(config.get("multi_step_lr") or {}, ("milestones", "gamma"), "multi_step_lr")
    if config.get("multi_step_lr"):
        require(config["multi_step_lr"], "milestones", "multi_step_lr")
    check_keys(config.get("cosine_lr") or {}, ("warmup_steps", "final_factor"), "cosine_lr")
    if config.get("multi_step_lr") and config.get("cosine_lr") is not None:
        raise InputError("multi_step_lr and cosine_lr exclude each other; remove one (set it to null)")


def learning_rate_factor(step: int, steps_per_epoch: int, config: Mapping[str, Any]) -> float:
    """Factor of the optimiser's learning rate at `step`, a pure function, so that a resume cannot shift it.

    `multi_step_lr: {milestones: [epochs], gamma}` multiplies by gamma after each milestone; `cosine_lr: {warmup_steps,
    final_factor}` rises linearly and falls as half a cosine to `final_factor` at `epoch_max`; neither: 1.
    """
    if config.get("multi_step_lr"):
        epoch = step // steps_per_epoch
        passed = sum(epoch >= milestone for milestone in config["multi_step_lr"]["milestones"])
        return config["multi_step_lr"].get("gamma", 0.5) ** passed
    if config.get("cosine_lr") is None:
        return 1.0
    warmup = config["cosine_lr"].get("warmup_steps", 0)
    final = config["cosine_lr"].get("final_factor", 0.0)
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, config["epoch_max"] * steps_per_epoch - warmup))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, shuffled index) for one epoch, the same for the same (seed, epoch); `first` skips those
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

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(mixed(self.seed, self.epoch))
        order = [(self.epoch, index) for index in torch.randperm(self.items, generator=generator).tolist()]
        begin, end = self.part
        for batch in range(self.first, len(self)):
            yield order[batch * self.batch_size + begin : batch * self.batch_size + end]


class SeededItems(Dataset):
    """Item (epoch, index) of `dataset` with random numbers of its own, so that neither the number of data workers nor
    what was drawn before changes it."""

    def __init__(self, dataset: Dataset, seed: int):
        self.dataset = dataset
        self.seed = seed

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        with repeatable(mixed(self.seed, epoch, index)):
            return self.dataset[index]


def check_finite(loss: float, parameters: Iterable[Tensor]) -> None:
    """Stopped, with exit status 1, when the loss or a parameter is not finite."""
    largest = nn.utils.get_total_norm(parameters, math.inf).item()
    for name, value in {"loss": loss, "largest weight": largest}.items():
        if not math.isfinite(value):
            raise Stopped(f"the {name} is {value}, which a lower optimizer.args.lr may avoid", 1)


def batch_parts(batch: Mapping[str, Tensor], count: int) -> Iterator[dict[str, Tensor]]:
    """The batch in at most `count` parts of about the same number of items."""
    for values in zip(*(value.chunk(count) for value in batch.values()), strict=True):
        yield dict(zip(batch, values, strict=True))


@torch.no_grad()
def average(mean: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the parameters of `mean` to those of `model` by 1 - `decay`; faster in the first steps, so that the random
    weights from before the training do not stay in it."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for value, target in zip(mean.parameters(), model.parameters(), strict=True):
        value.lerp_(target, weight)
    for value, target in zip(mean.buffers(), model.buffers(), strict=True):
        value.copy_(target)


class Interval:
    """Whether something is due again: every so many `steps`, or `minutes`."""

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
