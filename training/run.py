"""A training run: what is trained on what, how far it has come, and how that is saved and taken up again."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

import datasets
import models
from datasets.check import check_samples
from datasets.implicit import ImplicitDataset
from evaluation.metrics import Metric, make_metrics
from evaluation.protocols import parse_eval_type
from evaluation.validation import check_metrics
from models.checkpoints import loading as checkpoints
from models.checkpoints.safetensors_files import SUFFIX, save_safetensors
from models.normalization import Normalization
from models.upscaler import Upscaler
from training import folder as runs
from training import parts, speed
from training.losses import make_loss
from training.validation import check_validation
from training.watching import Meter
from utils import processes
from utils.config import MAPPING, POSITIVE, SWITCH, TEXT, WHOLE_NUMBERS, Check, between, check_of, require, whole
from utils.errors import InputError
from utils.random_state import repeatable, seed_everything
from utils.system import data_workers

LOSS = Check("a loss or a mapping of losses to weights", lambda v: isinstance(v, str | Mapping))
WORKERS = Check("auto or a whole number from 0 to 256", lambda v: v == "auto" or whole(0, 256).fits(v))
SHARE = Check("a number between 0 and 1", lambda v: isinstance(v, float) and 0 < v < 1)
KINDS = {
    "train_dataset": MAPPING, "val_dataset": MAPPING, "data_norm": MAPPING, "model": MAPPING, "optimizer": MAPPING,
    "optimizer.args": MAPPING, "multi_step_lr": MAPPING, "multi_step_lr.milestones": WHOLE_NUMBERS,
    "multi_step_lr.gamma": POSITIVE, "cosine_lr": MAPPING, "cosine_lr.warmup_steps": whole(0),
    "cosine_lr.final_factor": between(0, 1), "epoch_max": whole(1), "epoch_val": whole(1), "epoch_save": whole(1),
    "eval_bsize": whole(1), "eval_type": TEXT, "loss": LOSS, "precision": TEXT, "resume": TEXT, "init": TEXT,
    "seed": whole(0), "num_workers": WORKERS, "clip_grad": POSITIVE, "accumulate": whole(1), "ema": SHARE,
    "val_metrics": check_of(Sequence[str | Mapping]), "licence": TEXT, "channels_last": SWITCH, "compile": SWITCH,
}  # fmt: skip
LAST, BEST = "epoch-last.pth", "epoch-best.pth"


@dataclass
class Run:
    """A training run: what is trained on what, and how far it has come.

    `losses`: sum and number of those of this epoch. `pending`: the epoch that ends at `step` is yet to be validated or
    kept as epoch-N.pth. `saved`: the step in epoch-last.pth. `released`: what is validated and saved as the model, the
    moving average of the weights where the config has `ema`. `network`: the model as a step calls it, compiled and in
    several processes. `meter`: how this epoch goes. Only the first of several processes saves.
    """

    folder: Path
    config: dict[str, Any]
    upscaler: Upscaler
    released: Upscaler
    loss_function: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    base_rates: list[float]
    loader: DataLoader
    batches: parts.EpochBatches
    val_samples: ImplicitDataset | None
    val_metrics: Mapping[str, Metric]
    stop: processes.Watch
    save_every: parts.Interval
    network: nn.Module
    precision: torch.dtype
    scaler: torch.amp.GradScaler
    notices: list[str] = field(default_factory=list)
    meter: Meter = field(default_factory=Meter)
    step: int = 0
    best: float = -math.inf
    losses: tuple[float, int] = (0.0, 0)
    pending: bool = False
    saved: int | None = None

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
        }
        checkpoints.save_checkpoint(self.folder / name, content)
        protocol = parse_eval_type(self.config.get("eval_type"))[0].name
        figures = {"validation": {"protocol": protocol, "psnr": self.best}} if name == BEST else None
        portable = {**content, "figures": figures, "licence": self.config.get("licence")}
        save_safetensors((self.folder / name).with_suffix(SUFFIX), portable)
        if name == LAST:
            self.saved = self.step


def prepare(config: dict[str, Any], arguments: Any, folder: Path, device: torch.device, stop: processes.Watch) -> Run:
    """Everything that a run needs, checked before anything is written."""
    seed, workers = config.get("seed", 0), data_workers(config.get("num_workers"))
    require(config, "epoch_max", arguments.config)
    precision = speed.precision_of(config, device)
    samples, val_samples = prepare_data(config, arguments.config)
    val_metrics = make_metrics(config.get("val_metrics") or ())
    check_metrics(val_metrics, val_samples)
    job = processes.rank(), processes.count()
    batches = parts.EpochBatches(len(samples), config["train_dataset"]["batch_size"], seed, *job)
    loader = DataLoader(
        parts.SeededItems(samples, seed),
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=processes.leave_process_group,
        persistent_workers=workers > 0,
    )
    seed_everything(seed)
    spec = require(config, "model", arguments.config)
    model = checkpoints.make_continuous(spec, trained_scales=getattr(samples, "scales", None))
    model.to(device, memory_format=speed.memory_format(config))
    data_norm = config.get("data_norm")
    upscaler = Upscaler(model, Normalization.from_config(data_norm) if data_norm else None, device)
    loss_function = make_loss(config.get("loss", "l1"), samples.window, upscaler.normalization.gt.span)
    optimizer = parts.make_optimizer(model, require(config, "optimizer", arguments.config))
    base_rates = [group["lr"] for group in optimizer.param_groups]
    if config.get("init") and not (arguments.resume or config.get("resume")):
        models.load_parameters(model, checkpoints.load_content(config["init"])["model"].get("sd"))
    averaged = Upscaler(copy.deepcopy(model).eval(), upscaler.normalization, device) if config.get("ema") else None
    save_every = parts.Interval(*arguments.save_every)
    return Run(
        folder, config, upscaler, averaged or upscaler, loss_function, optimizer, base_rates, loader, batches,
        val_samples, val_metrics, stop, save_every, model, precision, speed.make_scaler(precision, device),
    )  # fmt: skip


def accelerate(run: Run) -> None:
    """Compile the model of a run, where its config says so, and let several processes train it together; a trial of
    the compiler may leave a notice."""
    if not run.config.get("compile") and processes.count() == 1:
        return
    items, (begin, end) = run.loader.dataset, run.batches.part
    batch = default_collate([items[0, number % len(items.dataset)] for number in range(begin, end)])
    example = [batch[key].to(run.upscaler.device) for key in ("inp", "coord", "cell")]
    example[0] = example[0].contiguous(memory_format=speed.memory_format(run.config))
    model = run.upscaler.model
    if run.config.get("compile"):
        run.network, notice = speed.compiled(model, example, run.precision)
        run.notices += [notice] if notice else []
    if processes.count() > 1:
        run.network = speed.in_processes(model, run.network, example, run.precision)


def prepare_data(config: Mapping[str, Any], where: str) -> tuple[ImplicitDataset, ImplicitDataset | None]:
    """The samples to train and to validate with."""
    samples = datasets.make_wrapped(require(config, "train_dataset", where), "train_dataset")
    batch_size = require(config["train_dataset"], "batch_size", "train_dataset")
    check_samples(samples, "train_dataset")
    samples.check_batches(batch_size)
    if config.get("accumulate") and config["accumulate"] * processes.count() > batch_size:
        shared = f" by {processes.count()} processes" if processes.count() > 1 else ""
        raise InputError(f"accumulate is {config['accumulate']}; expected at most the batch_size, {batch_size}{shared}")
    with repeatable():  # a mistake in the data should show now
        samples[0]
    if not config.get("val_dataset"):
        return samples, None
    val_samples = datasets.make_wrapped(config["val_dataset"], "val_dataset")
    check_samples(val_samples, "val_dataset")
    check_validation(val_samples, parse_eval_type(config.get("eval_type"))[0], config["val_dataset"])
    return samples, val_samples


def resume(run: Run, arguments: Any) -> tuple[Mapping[str, Any] | None, list[str]]:
    """Take up the state that a run, ours or of the authors' programs, has saved, if it should: the config of that run,
    and what to log."""
    path = run.folder / LAST if arguments.resume else run.config.get("resume")
    if not path:
        if arguments.allow_changes and not arguments.auto_resume:
            raise InputError("--allow-changes is for --resume; leave it out")
        return None, []
    state = processes.from_first(lambda: checkpoints.load_checkpoint(path))
    return processes.agreed(lambda: take_up(run, arguments, Path(path), state))


def take_up(
    run: Run, arguments: Any, path: Path, state: Mapping[str, Any]
) -> tuple[Mapping[str, Any] | None, list[str]]:
    """`resume` from the `state` in the file at `path`."""
    norm = run.upscaler.normalization.to_config()
    earlier = runs.earlier_config(path, state, run.config, norm)
    notices = runs.check_same_config(path, earlier, run.config, arguments.allow_changes)
    models.load_parameters(run.released.model, state["model"].get("sd"))
    models.load_parameters(run.upscaler.model, state.get("trained", state["model"].get("sd")))
    parts.load_optimizer(run.optimizer, state["optimizer"].get("sd"), path)
    run.step = runs.step_of(state, len(run.batches))
    run.best, run.losses = state.get("best", -math.inf), tuple(state.get("losses", (0.0, 0)))
    run.pending = state.get("pending", False) and (run.validates or run.keeps)
    if run.scaler.is_enabled() and state.get("scaler"):
        parts.load_scaler(run.scaler, state["scaler"], path)
    if arguments.resume:
        run.saved = run.step
    if run.done and not arguments.auto_resume:
        raise InputError(f"{run.folder} has done its {run.config['epoch_max']} epochs; raise epoch_max to train on")
    if state.get("processes", 1) != processes.count():
        notices.append(f"processes: {state.get('processes', 1)} -> {processes.count()}, the same but for rounding")
    if state.get("steps_per_epoch", len(run.batches)) != len(run.batches):
        notices.append(f"steps an epoch: {state['steps_per_epoch']} -> {len(run.batches)}, as the training set changed")
    return earlier, [f"{path} continued from step {run.step}", *notices]
