"""Train a model: `python train.py --config configs/train-lmf/train_edsr-baseline-lmliif.yaml --name my-run`."""

import copy
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

import datasets
import models
from datasets.implicit import ImplicitDataset
from evaluation.measure import validate
from evaluation.metrics import parse_eval_type
from evaluation.validation import check_validation, validation_picture
from models.checkpoints import loading as checkpoints
from models.normalization import Normalization
from models.upscaler import Upscaler
from utils import cli, runs, stopping, training
from utils.config import check_keys, check_types, load_config, require
from utils.devices import select_device
from utils.errors import InputError
from utils.events import EventLog
from utils.kinds import MAPPING, NUMBER, NUMBERS, POSITIVE, TEXT, Kind, whole
from utils.losses import make_loss
from utils.random_state import repeatable, seed_everything

LOSS = Kind("a loss or a mapping of losses to weights", lambda v: isinstance(v, str | Mapping))
SHARE = Kind("a number between 0 and 1", lambda v: isinstance(v, float) and 0 < v < 1)
KINDS = {
    "train_dataset": MAPPING, "val_dataset": MAPPING, "data_norm": MAPPING, "model": MAPPING, "optimizer": MAPPING,
    "optimizer.args": MAPPING, "multi_step_lr": MAPPING, "multi_step_lr.milestones": NUMBERS,
    "multi_step_lr.gamma": NUMBER, "cosine_lr": MAPPING, "cosine_lr.warmup_steps": whole(0),
    "cosine_lr.final_factor": NUMBER, "epoch_max": whole(1), "epoch_val": whole(1), "epoch_save": whole(1),
    "eval_bsize": whole(1), "eval_type": TEXT, "loss": LOSS, "precision": TEXT, "resume": TEXT, "init": TEXT,
    "seed": whole(0), "num_workers": whole(0), "clip_grad": POSITIVE, "accumulate": whole(1), "ema": SHARE,
}  # fmt: skip
LAST = "epoch-last.pth"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(prog="train.py", description="Train the model of a config; writes save/NAME.")
    parser.add_argument("--config", required=True, help="YAML file, see configs/train-lmf")
    parser.add_argument("--name", help="name of the run (default: _ and the config's)")
    parser.add_argument("--tag", help="appended to the name")
    parser.add_argument("--save-root", default="save", help="folder of all runs")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a config value")
    parser.add_argument("--resume", action="store_true", help="continue the run of this name")
    parser.add_argument("--overwrite", action="store_true", help="delete the run of this name and start anew")
    parser.add_argument(
        "--allow-changes", nargs="+", default=[], metavar="KEY", help="with --resume: settings that may differ now"
    )
    parser.add_argument(
        "--save-every", type=cli.interval, default="10m", metavar="N", help="save after so many steps, or minutes (5m)"
    )
    parser.add_argument("--max-minutes", type=cli.positive, help="save and stop cleanly after so long (default: never)")
    cli.add_device_options(parser)
    return parser.parse_args(argv)


@dataclass
class Run:
    """A training run: what is trained on what, and how far it has come.

    `losses`: sum and number of those of this epoch. `pending`: the epoch that ends at `step` is yet to be validated or
    kept as epoch-N.pth. `saved`: the step in epoch-last.pth. `released`: what is validated and saved as the model, the
    moving average of the weights where the config has `ema`.
    """

    folder: Path
    config: dict[str, Any]
    upscaler: Upscaler
    released: Upscaler
    loss_function: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    base_rates: list[float]
    loader: DataLoader
    batches: training.EpochBatches
    val_samples: ImplicitDataset | None
    stop: stopping.Watch
    save_every: training.Interval
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
        content = {
            "model": {**self.config["model"], "sd": self.released.model.state_dict()},
            **({} if self.released is self.upscaler else {"trained": self.upscaler.model.state_dict()}),
            "optimizer": {**self.config["optimizer"], "sd": self.optimizer.state_dict()},
            "data_norm": self.upscaler.normalization.to_config(),
            "config": self.config,
            "epoch": self.step // len(self.batches),
            "step": self.step,
            "steps_per_epoch": len(self.batches),
            "best": self.best,
            "losses": list(self.losses),
            "pending": self.pending,
        }
        checkpoints.save_checkpoint(self.folder / name, content)
        if name == LAST:
            self.saved = self.step


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    config = load_config(arguments.config, arguments.set)
    check_keys(config, {kind.split(".")[0] for kind in KINDS}, arguments.config)
    check_types(config, KINDS, arguments.config)
    training.check_schedule(config)
    device, notice = select_device(arguments.device, arguments.gpu)
    folder = runs.run_folder(arguments.save_root, arguments.name or f"_{Path(arguments.config).stem}", arguments.tag)
    with (
        stopping.watch(arguments.max_minutes) as stop,
        runs.claimed(folder, arguments.resume, arguments.overwrite),
    ):
        run = prepare(config, arguments, folder, device, stop)
        earlier, notices = resume(run, arguments)
        if run.done:
            raise InputError(f"{folder} has done its {config['epoch_max']} epochs; raise epoch_max to train on")
        if arguments.overwrite:
            runs.remove_run(folder)
        runs.write_config(folder, config, earlier, run.step)
        log = runs.run_logger(folder)
        parameters = sum(parameter.numel() for parameter in run.upscaler.model.parameters() if parameter.requires_grad)
        steps = f"{len(run.batches)} steps an epoch, {config['epoch_max']} epochs"
        for line in (notice, f"{config['model']['name']}: {parameters:,} parameters, {steps}, on {device}", *notices):
            if line:
                log.info(line)
        train(run, log)
    print(f"wrote {folder}/{LAST}" + (f", best PSNR {run.best:.3f} dB" if run.best > -math.inf else ""))


def prepare(config: dict[str, Any], arguments: Any, folder: Path, device: torch.device, stop: stopping.Watch) -> Run:
    """Everything that a run needs, checked before anything is written."""
    seed, workers = config.get("seed", 0), config.get("num_workers", 0)
    require(config, "epoch_max", arguments.config)
    training.choose("precision", config.get("precision", "float32"), PRECISIONS)
    samples, val_samples = prepare_data(config, arguments.config)
    batches = training.EpochBatches(len(samples), config["train_dataset"]["batch_size"], seed)
    loader = DataLoader(
        training.SeededItems(samples, seed),
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=stopping.leave_process_group,
        persistent_workers=workers > 0,
    )
    loss_function = make_loss(config.get("loss", "l1"))
    seed_everything(seed)
    model = checkpoints.make_continuous(require(config, "model", arguments.config))
    upscaler = Upscaler(model, Normalization.for_model(model, config.get("data_norm")), device)
    optimizer = training.make_optimizer(model, require(config, "optimizer", arguments.config))
    base_rates = [group["lr"] for group in optimizer.param_groups]
    if config.get("init") and not (arguments.resume or config.get("resume")):
        models.load_parameters(model, checkpoints.load_checkpoint(config["init"])["model"].get("sd"))
    averaged = Upscaler(copy.deepcopy(model).eval(), upscaler.normalization, device) if config.get("ema") else None
    save_every = training.Interval(*arguments.save_every)
    return Run(
        folder, config, upscaler, averaged or upscaler, loss_function, optimizer, base_rates, loader, batches,
        val_samples, stop, save_every,
    )  # fmt: skip


def prepare_data(config: Mapping[str, Any], where: str) -> tuple[ImplicitDataset, ImplicitDataset | None]:
    """The samples to train and to validate with."""
    samples = datasets.make_wrapped(require(config, "train_dataset", where), "train_dataset")
    batch_size = require(config["train_dataset"], "batch_size", "train_dataset")
    samples.check_batches(batch_size)
    if (config.get("accumulate") or 1) > batch_size:
        raise InputError(f"accumulate is {config['accumulate']}; expected at most the batch_size, {batch_size}")
    with repeatable():  # a mistake in the data should show now
        samples[0]
    if not config.get("val_dataset"):
        return samples, None
    val_samples = datasets.make_wrapped(config["val_dataset"], "val_dataset")
    check_validation(val_samples, parse_eval_type(config.get("eval_type"))[0], config["val_dataset"])
    return samples, val_samples


def resume(run: Run, arguments: Any) -> tuple[Mapping[str, Any] | None, list[str]]:
    """Take up the state that a run, ours or of the authors' programs, has saved, if it should: the config of that run,
    and what to log."""
    path = run.folder / LAST if arguments.resume else run.config.get("resume")
    if not path:
        if arguments.allow_changes:
            raise InputError("--allow-changes is for --resume; leave it out")
        return None, []
    state = checkpoints.load_checkpoint(path)
    norm = run.upscaler.normalization.to_config()
    earlier = runs.earlier_config(Path(path), state, run.config, norm)
    notices = runs.check_same_config(path, earlier, run.config, arguments.allow_changes)
    models.load_parameters(run.released.model, state["model"].get("sd"))
    models.load_parameters(run.upscaler.model, state.get("trained", state["model"].get("sd")))
    training.load_optimizer(run.optimizer, state["optimizer"].get("sd"), path)
    run.step = runs.step_of(state, len(run.batches))
    run.best, run.losses = state.get("best", -math.inf), tuple(state.get("losses", (0.0, 0)))
    run.pending = state.get("pending", False) and (run.validates or run.keeps)
    if arguments.resume:
        run.saved = run.step
    if state.get("steps_per_epoch", len(run.batches)) != len(run.batches):
        notices.append(f"steps an epoch: {state['steps_per_epoch']} -> {len(run.batches)}, as the training set changed")
    return earlier, [f"{path} continued from step {run.step}", *notices]


def train(run: Run, log: logging.Logger) -> None:
    """Train to the end, or until the run should stop: then the log says how to go on."""
    events = EventLog(run.folder / "tensorboard")
    try:
        while not run.done:
            started = time.monotonic()
            if not run.pending:
                train_epoch(run)
            if run.step % len(run.batches) == 0 and not run.stop.wanted:
                log.info(f"{finish_epoch(run, events)}, {time.monotonic() - started:.0f} s")
            if run.stop.time_is_up and not run.done:
                log.info(f"the time is up; {how_to_go_on(run)}")
                break
    except stopping.Stopped as stopped:
        log.info(f"step {run.step}: {stopped}; {how_to_go_on(run)}")
        sys.exit(stopped.status)
    finally:
        del run.loader  # ends its workers now; at the program's end PyTorch would wait for each


def how_to_go_on(run: Run) -> str:
    if run.done:
        return "the run is complete"
    if run.saved is None:
        return "nothing was saved"
    return f"{run.folder / LAST} holds step {run.saved}, from which --resume continues"


def train_epoch(run: Run) -> None:
    """Train to the end of the epoch, or until the run should stop, and save."""
    done, run.batches.first = divmod(run.step, len(run.batches))
    run.batches.epoch = done + 1
    if run.batches.first == 0:
        run.losses = (0.0, 0)
    remaining = len(run.batches) - run.batches.first
    run.upscaler.model.train()
    with run.stop.deferred():
        try:
            for batch in tqdm(run.loader, desc=f"epoch {done + 1}", total=remaining, leave=False, disable=None):
                loss = train_step(run, batch)
                run.losses = (run.losses[0] + loss, run.losses[1] + 1)
                run.step += 1
                if run.stop.wanted:
                    break
                if run.save_every.due(run.step):
                    run.save(LAST)
        except InputError:  # a picture that cannot be read any more
            run.save(LAST)
            raise
        run.upscaler.model.eval()
        run.pending = run.step % len(run.batches) == 0 and (run.validates or run.keeps)
        run.save(LAST)


def train_step(run: Run, batch: Mapping[str, Tensor]) -> float:
    """One step of the optimiser: the loss."""
    config, upscaler = run.config, run.upscaler
    seed_everything(config.get("seed", 0), run.step)
    factor = training.learning_rate_factor(run.step, len(run.batches), config)
    for group, base_rate in zip(run.optimizer.param_groups, run.base_rates, strict=True):
        group["lr"] = base_rate * factor
    run.optimizer.zero_grad()
    loss = torch.zeros((), device=upscaler.device)
    for part in training.parts(batch, config.get("accumulate") or 1):
        share = len(part["inp"]) / len(batch["inp"])
        part_loss = share * loss_of(
            run, {key: value.to(upscaler.device, non_blocking=True) for key, value in part.items()}
        )
        part_loss.backward()
        loss += part_loss.detach()
    parameters = list(upscaler.model.parameters())
    if config.get("clip_grad"):
        torch.nn.utils.clip_grad_norm_(parameters, config["clip_grad"])
    run.optimizer.step()
    training.check_finite(loss, parameters)
    if config.get("ema"):
        training.average(run.released.model, upscaler.model, config["ema"], run.step)
    return loss.item()


def loss_of(run: Run, batch: Mapping[str, Tensor]) -> Tensor:
    normalization, device = run.upscaler.normalization, run.upscaler.device
    precision = PRECISIONS[run.config.get("precision", "float32")]
    inp = normalization.inp.apply(batch["inp"]).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        values = run.upscaler.model(inp, batch["coord"], batch["cell"])
    return run.loss_function(values.float(), normalization.gt.apply(batch["gt"], channels_last=True))


def finish_epoch(run: Run, events: EventLog) -> str:
    """Validate, save and report; the line for the log."""
    loss, rate = run.losses[0] / run.losses[1], run.optimizer.param_groups[0]["lr"]
    line = f"epoch {run.epoch}/{run.config['epoch_max']} step {run.step}: lr {rate:.3g}, loss {loss:.5f}"
    scalars, pictures = {"loss/train": loss, "lr": rate}, {}
    if run.validates:
        protocol, _ = parse_eval_type(run.config.get("eval_type"))
        batch_size, queries = run.config["val_dataset"].get("batch_size", 1), run.config.get("eval_bsize")
        score = validate(run.released, run.val_samples, protocol, batch_size, queries)
        scalars["psnr/val"] = score
        pictures["validation"] = validation_picture(run.released, run.val_samples)
        line += f", val PSNR {score:.3f} dB"
    if run.pending:
        with run.stop.deferred():
            run.pending = False
            if scalars.get("psnr/val", -math.inf) > run.best:
                run.best = score
                run.save("epoch-best.pth")
            if run.keeps:
                run.save(f"epoch-{run.epoch}.pth")
            run.save(LAST)
    events.add(run.step, scalars, pictures)
    return line


if __name__ == "__main__":
    cli.run(main)
