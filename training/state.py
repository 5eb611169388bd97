"""The state of a training run: what it holds, how it is saved, and how it is resumed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import models
from datasets.implicit import ImplicitDataset
from evaluation.metrics import Metric
from evaluation.protocols import parse_eval_type
from models.checkpoints import loading as checkpoints
from models.checkpoints.safetensors_files import SUFFIX, save_safetensors
from models.upscaler import Upscaler
from training import folder as runs
from training.losses import Loss
from training.optimizers import Schedule, load_optimizer
from training.parts import EpochBatches, Interval, check_finite
from training.report import HISTORY, EventLog, Meter, read_rows
from utils import processes
from utils.errors import InputError

LAST, BEST = "epoch-last.pth", "epoch-best.pth"
READ_EVERY = 50  # steps


@dataclass
class Run:
    """A training run: what is trained on what, and how far it has come.

    `losses`: sum and number of those of this epoch. `unread`: loss and gradient norm, on the device, of the last steps.
    `curve`: step, rate, loss and gradient norm of steps not yet written. `pending`: the epoch that ends at `step` is
    yet to be validated or kept as epoch-N.pth. `saved`: the step in epoch-last.pth. `released`: what is validated and
    saved as the model, the moving average of the weights where the config has `ema`. `network`: the model as a step
    calls it, compiled and in several processes. `meter`: speed of this epoch. Only the first of several processes
    saves, and has TensorBoard's `events` and an experiment tracker, `track`.
    """

    folder: Path
    config: dict[str, Any]
    upscaler: Upscaler
    released: Upscaler
    loss: Loss
    optimizer: torch.optim.Optimizer
    base_rates: list[float]
    schedule: Schedule
    loader: DataLoader
    batches: EpochBatches
    val_samples: ImplicitDataset | None
    val_metrics: Mapping[str, Metric]
    stop: processes.Watch
    save_every: Interval
    network: nn.Module
    precision: torch.dtype
    scaler: torch.amp.GradScaler
    notices: list[str] = field(default_factory=list)
    meter: Meter = field(default_factory=Meter)
    step: int = 0
    best: float = -math.inf
    losses: tuple[float, int] = (0.0, 0)
    unread: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)
    pending: bool = False
    saved: int | None = None
    events: EventLog | None = None
    track: Callable[[Mapping[str, float], int], Any] = lambda scalars, step: None

    @property
    def epoch(self) -> int:
        """The epoch, from 1, of the last step."""
        return -(-self.step // len(self.batches))

    @property
    def done(self) -> bool:
        return self.step >= self.config["epoch_max"] * len(self.batches) and not self.pending

    @property
    def validates(self) -> bool:
        """Whether this epoch is to be validated."""
        return self.val_samples is not None and self.epoch % (self.config.get("epoch_val") or 1) == 0

    @property
    def keeps(self) -> bool:
        """Whether this epoch is to be kept as epoch-N.pth."""
        return bool(self.config.get("epoch_save")) and self.epoch % self.config["epoch_save"] == 0

    @property
    def read_every(self) -> int:
        """Steps after which their figures are read from the device: reading makes a GPU wait, a CPU not."""
        every = self.config.get("read_every") or READ_EVERY
        return every if self.upscaler.device.type == "cuda" else 1

    def read(self) -> None:
        """Read the loss and gradient norm of the last steps from the device. Stopped when a number is not finite;
        nothing from after it was saved then. All processes call it together."""
        if not self.unread:
            return
        own, norms = torch.stack([torch.stack(figures) for figures in self.unread]).T.tolist()
        losses = [sum(each) for each in zip(*processes.gathered(own), strict=True)]
        check_finite(losses, self.upscaler.model.parameters(), self.step)
        self.unread = []
        for loss in losses:
            self.losses = self.losses[0] + loss, self.losses[1] + 1
        self.meter.add(norms)
        rate = self.optimizer.param_groups[0]["lr"]
        first = self.step - len(losses) + 1
        for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), first):
            self.curve.append({"step": step, "lr": rate, "loss": loss, "gradient_norm": norm})

    def save(self, name: str) -> None:
        """Write the state of the run to `name`, and beside it, as .safetensors, the model that is released; of several
        processes the first one does."""
        if not processes.is_first():
            return
        content = {
            "model": {**self.config["model"], "sd": self.released.model.state_dict()},
            **({} if self.released is self.upscaler else {"trained": self.upscaler.model.state_dict()}),
            "optimizer": {**self.config["optimizer"], "sd": self.optimizer.state_dict()},
            "data_norm": self.upscaler.normalization.to_config(),
            "trained_scales": self.upscaler.model.trained_scales and list(self.upscaler.model.trained_scales),
            "config": self.config,
            "epoch": self.step // len(self.batches),
            "step": self.step,
            "steps_per_epoch": len(self.batches),
            "best": self.best,
            "losses": list(self.losses),
            "pending": self.pending,
            "processes": processes.count(),
            **({"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {}),
            **({"loss": self.loss.state_dict()} if self.loss.trained else {}),
        }
        checkpoints.save_checkpoint(self.folder / name, content)
        protocol = parse_eval_type(self.config.get("eval_type"))[0].name
        figures = {"validation": {"protocol": protocol, "psnr": self.best}} if name == BEST else None
        portable = {**content, "figures": figures, "licence": self.config.get("licence")}
        save_safetensors((self.folder / name).with_suffix(SUFFIX), portable)
        if name == LAST:
            self.saved = self.step


def resume(run: Run, arguments: Any) -> tuple[Mapping[str, Any] | None, list[str]]:
    """Load the state that a run, ours or of the authors' programs, has saved, if it should: the config of that run,
    and what to log. As in the authors' programs, a `resume` of the config whose file is not there begins a new run."""
    path = run.folder / LAST if arguments.resume else run.config.get("resume")
    if not arguments.resume and path and not processes.gathered_from_first(Path(path).exists()):
        return None, [f"resume: {path} is not there, so training begins anew"]
    if not path:
        if arguments.allow_changes and not arguments.auto_resume:
            raise InputError("--allow-changes is for --resume; leave it out")
        return None, []
    state = processes.from_first(lambda: checkpoints.load_checkpoint(path))
    return processes.agreed(lambda: load_state(run, arguments, Path(path), state))


def load_state(
    run: Run, arguments: Any, path: Path, state: Mapping[str, Any]
) -> tuple[Mapping[str, Any] | None, list[str]]:
    """`resume` from the `state` in the file at `path`."""
    norm = run.upscaler.normalization.to_config()
    earlier = runs.earlier_config(path, state, run.config, norm)
    notices = runs.check_same_config(path, earlier, run.config, arguments.allow_changes)
    models.load_parameters(run.released.model, state["model"].get("sd"))
    models.load_parameters(run.upscaler.model, state.get("trained", state["model"].get("sd")))
    load_optimizer(run.optimizer, state["optimizer"].get("sd"), path)
    run.step = runs.step_of(state, len(run.batches))
    run.best, run.losses = state.get("best", -math.inf), tuple(state.get("losses", (0.0, 0)))
    run.pending = state.get("pending", False) and (run.validates or run.keeps)
    if run.scaler.is_enabled() and state.get("scaler"):
        try:
            run.scaler.load_state_dict(dict(state["scaler"]))
        except (KeyError, RuntimeError) as error:
            raise InputError(f"{path}: its state of the gradient scaler does not fit; use it as 'init'") from error
    if run.loss.trained and state.get("loss"):
        run.loss.load_state_dict(state["loss"])
    if arguments.resume:
        run.saved = run.step
        read_rows(run.folder / HISTORY)  # a damaged one is told now, not after an epoch
    if run.done and not arguments.auto_resume:
        raise InputError(f"{run.folder} has done its {run.config['epoch_max']} epochs; raise epoch_max to train on")
    if state.get("processes", 1) != processes.count():
        notices.append(f"processes: {state.get('processes', 1)} -> {processes.count()}, the same but for rounding")
    if state.get("steps_per_epoch", len(run.batches)) != len(run.batches):
        notices.append(f"steps an epoch: {state['steps_per_epoch']} -> {len(run.batches)}, as the training set changed")
    return earlier, [f"{path} continued from step {run.step}", *notices]
