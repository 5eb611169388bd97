"""Parts of the train loop: optimisers, the learning rate as a function of the step, sample order, run folders."""

import logging
import math
import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Sampler

from utils.config import check_keys, require
from utils.errors import InputError, nearest_name

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
LOSSES = {"l1": nn.functional.l1_loss, "mse": nn.functional.mse_loss}


def choose(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """`known[name]`, or InputError with the nearest name."""
    if name not in known:
        raise InputError(f"unknown {kind} '{name}'; {nearest_name(name, known)}")
    return known[name]


def make_optimizer(model: nn.Module, spec: Mapping[str, Any]) -> torch.optim.Optimizer:
    """`{name: adam | adamw | sgd, args: {lr: ...}}` over the model's trainable parameters."""
    check_keys(spec, ("name", "args"), "optimizer")
    factory = choose("optimizer", require(spec, "name", "optimizer"), OPTIMIZERS)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise InputError("this model has no parameters to train")
    try:
        return factory(parameters, **(spec.get("args") or {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer '{spec['name']}': {error}") from None


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


class EpochBatches(Sampler[list[int]]):
    """Batches of shuffled indices for one epoch, the same for the same (seed, epoch); `first` skips those already done.

    `len(self)` counts whole batches of the full epoch; a rest smaller than a batch is left out.
    """

    def __init__(self, items: int, batch_size: int, seed: int):
        if items < batch_size:
            raise InputError(
                f"the training set has {items} items, fewer than one batch of {batch_size}; raise its 'repeat'"
            )
        self.items = items
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.first = 0

    def __len__(self) -> int:
        return self.items // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(hash((self.seed, self.epoch)) % 2**63)
        order = torch.randperm(self.items, generator=generator).tolist()
        for batch in range(self.first, len(self)):
            yield order[batch * self.batch_size : (batch + 1) * self.batch_size]


def seed_everything(*numbers: int) -> None:
    """Seed Python's and PyTorch's random numbers (from which data workers derive theirs)."""
    seed = hash(numbers) % 2**63
    random.seed(seed)
    torch.manual_seed(seed)


def run_folder(root: str, name: str, tag: str | None) -> Path:
    """`root/name_tag`; InputError for names that are no single folder name."""
    name = f"{name}_{tag}" if tag else name
    if name in ("", ".", "..") or Path(name).name != name:
        raise InputError(f"'{name}' is no name for a run; give --name and --tag without separators")
    return Path(root) / name


def check_run_folder(folder: Path, resume: bool, overwrite: bool) -> None:
    """InputError when a run in `folder` would mix with an earlier one or delete anything else, or leaves none to
    resume."""
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; use another --name")
    holds_run, holds_checkpoint = (folder / "log.txt").is_file(), (folder / "epoch-last.pth").is_file()
    if resume and not holds_checkpoint:
        raise InputError(f"--resume: no {folder / 'epoch-last.pth'}; start without --resume")
    if folder.is_dir() and any(folder.iterdir()) and not holds_run:
        raise InputError(f"{folder} is not the folder of a run and is left alone; use another --name")
    if holds_checkpoint and not (resume or overwrite):
        raise InputError(f"{folder} holds a run; --resume continues it, --overwrite deletes it, --tag names a new one")


def check_same_run(
    path: Path, state: Mapping[str, Any], config: Mapping[str, Any], data_norm: Mapping[str, Any], steps_per_epoch: int
) -> None:
    """InputError when the checkpoint `state` read from `path` is no training state, or one of other settings than
    `config`."""
    if not isinstance(state.get("optimizer"), Mapping) or not ("step" in state or "epoch" in state):
        raise InputError(f"{path} holds no training state; use it as 'init' to start from its weights")
    described = {
        "model.name": (state["model"].get("name"), config["model"]["name"]),
        "model.args": (state["model"].get("args") or {}, config["model"].get("args") or {}),
        "optimizer.name": (state["optimizer"].get("name"), config["optimizer"]["name"]),
        "optimizer.args": (state["optimizer"].get("args") or {}, config["optimizer"].get("args") or {}),
        "data_norm": (state.get("data_norm", data_norm), data_norm),
        "steps an epoch": (state.get("steps_per_epoch", steps_per_epoch), steps_per_epoch),
    }
    for key, (saved, wanted) in described.items():
        if saved != wanted:
            raise InputError(
                f"{path} was trained with another {key} than the config's; undo that or use the file as 'init'"
            )


def prepare_run_folder(folder: Path, overwrite: bool) -> None:
    """Make the folder of a run, emptied first when `overwrite`."""
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {folder}: {error.strerror}; choose another --save-root") from None


def run_logger(folder: Path) -> logging.Logger:
    """A logger that writes to the screen and appends to `log.txt` of the run."""
    logger = logging.getLogger(str(folder))
    logger.setLevel(logging.INFO)
    logger.handlers = [logging.StreamHandler(), logging.FileHandler(folder / "log.txt")]
    for handler in logger.handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%m-%d %H:%M:%S"))
    return logger
