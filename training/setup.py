"""Setup of a training run: everything it needs, made and checked before anything is written."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

import datasets
import models
from datasets.check import check_samples
from datasets.implicit import ImplicitDataset
from datasets.teacher import Taught
from evaluation.metrics import make_metrics
from evaluation.protocols import parse_eval_type
from evaluation.validation import check_metrics
from models.checkpoints import loading as checkpoints
from models.normalization import Normalization
from models.registry import check_parameters
from models.upscaler import Upscaler
from training import parts, speed
from training.losses import make_loss
from training.optimizers import Schedule, freeze, make_optimizer, parameters_below
from training.report import LOGGERS, check_logger
from training.state import Run
from utils import processes
from utils.config import (
    FOLDERS,
    MAPPING,
    POSITIVE,
    SWITCH,
    TEXT,
    TEXTS,
    WHOLE_NUMBERS,
    Check,
    between,
    check_keys,
    check_of,
    require,
    whole,
)
from utils.errors import InputError, one_line, shortened
from utils.random_state import repeatable, seed_everything
from utils.system import data_workers

WORKERS = Check("auto or a whole number from 0 to 256", lambda v: v == "auto" or whole(0, 256).fits(v))
SHARE = Check("a number between 0 and 1", lambda v: isinstance(v, float) and 0 < v < 1)
COMPILE = Check(f"true, false or one of {', '.join(speed.MODES)}", lambda v: isinstance(v, bool) or v in speed.MODES)
NAME_OR_MAPPING = Check("a name or a mapping", lambda v: isinstance(v, str | Mapping))
LOGGER = Check(" or ".join(LOGGERS), lambda v: v in LOGGERS)
KINDS = {
    "train_dataset": MAPPING, "val_dataset": MAPPING, "data_norm": MAPPING, "model": MAPPING, "optimizer": MAPPING,
    "optimizer.args": MAPPING, "multi_step_lr": MAPPING, "multi_step_lr.milestones": WHOLE_NUMBERS,
    "multi_step_lr.gamma": POSITIVE, "cosine_lr": MAPPING, "cosine_lr.warmup_steps": whole(0),
    "cosine_lr.final_factor": between(0, 1), "scheduler": MAPPING, "lr": MAPPING, "freeze": TEXTS,
    "epoch_max": whole(1), "epoch_val": whole(1), "epoch_save": whole(1), "eval_bsize": whole(1), "eval_type": TEXT,
    "loss": NAME_OR_MAPPING, "precision": TEXT, "resume": TEXT, "init": NAME_OR_MAPPING, "seed": whole(0),
    "num_workers": WORKERS, "clip_grad": POSITIVE, "accumulate": whole(1), "ema": SHARE,
    "val_metrics": check_of(Sequence[str | Mapping]), "licence": TEXT, "channels_last": SWITCH, "compile": COMPILE,
    "read_every": whole(1), "logger": LOGGER, "teacher": MAPPING, "teacher.folder": FOLDERS,
}  # fmt: skip


def prepare(config: dict[str, Any], arguments: Any, folder: Path, device: torch.device, stop: processes.Watch) -> Run:
    """Everything that a run needs, checked before anything is written."""
    seed, workers = config.get("seed", 0), data_workers(config.get("num_workers"))
    require(config, "epoch_max", arguments.config)
    precision = speed.precision_of(config, device)
    samples, val_samples = prepare_data(config, arguments.config)
    val_metrics = make_metrics(config.get("val_metrics") or ())
    check_metrics(val_metrics, val_samples)
    check_logger(config.get("logger"))
    job = processes.rank(), processes.count()
    batches = parts.EpochBatches(len(samples), config["train_dataset"]["batch_size"], seed, *job)
    if isinstance(samples, Taught):
        samples.begin(config["epoch_max"] * len(batches))
        config["teacher"] = {**config["teacher"], "hash": samples.hash}  # a resumed run has the same targets
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
    freeze(model, config.get("freeze") or ())
    rates = config.get("lr"), device.type == "cuda"
    optimizer = make_optimizer(model, require(config, "optimizer", arguments.config), *rates)
    schedule = Schedule(config, len(batches))
    continued = arguments.resume or (config.get("resume") and Path(config["resume"]).exists())
    notices = initialise(model, config["init"]) if config.get("init") and not continued else []
    averaged = Upscaler(copy.deepcopy(model).eval(), upscaler.normalization, device) if config.get("ema") else None
    loss = make_loss(config.get("loss", "l1"), samples.window, upscaler.normalization.gt, model, device)
    run = Run(
        folder, config, upscaler, averaged or upscaler, loss, optimizer, [g["lr"] for g in optimizer.param_groups],
        schedule, loader, batches, val_samples, val_metrics, stop, parts.Interval(*arguments.save_every), model,
        precision, speed.make_scaler(precision, device), notices=notices,
    )  # fmt: skip
    check_output(run, samples)
    return run


def prepare_data(config: Mapping[str, Any], where: str) -> tuple[ImplicitDataset, ImplicitDataset | None]:
    """The samples to train and to validate with."""
    samples = datasets.make_wrapped(require(config, "train_dataset", where), "train_dataset")
    batch_size = require(config["train_dataset"], "batch_size", "train_dataset")
    if config.get("teacher"):
        samples = Taught.of(samples, config["teacher"])
    check_samples(samples, "train_dataset")
    samples.check_batches(batch_size)
    samples.check_queries()
    if config.get("accumulate") and config["accumulate"] * processes.count() > batch_size:
        shared = f" by {processes.count()} processes" if processes.count() > 1 else ""
        raise InputError(f"accumulate is {config['accumulate']}; expected at most the batch_size, {batch_size}{shared}")
    with repeatable():  # a mistake in the data should show now
        samples[0]
    spec = config.get("val_dataset")
    if not spec:
        return samples, None
    val_samples = datasets.make_wrapped(spec, "val_dataset")
    check_samples(val_samples, "val_dataset")
    if len(val_samples) == 0:
        raise InputError("val_dataset is empty; remove it or give it pictures")
    if val_samples.sample_q is not None:
        name = parse_eval_type(config.get("eval_type"))[0].name
        if name != "rgb":
            raise InputError(f"eval_type '{name}' needs whole pictures; remove sample_q and inp_size from val_dataset")
        val_samples.check_batches(spec.get("batch_size", 1))
        val_samples.check_queries()
    with repeatable():
        val_samples[0]
    return samples, val_samples


def check_output(run: Run, samples: ImplicitDataset) -> None:
    """InputError where the model cannot compute an item, or gives values of another shape than its targets."""
    with repeatable():
        item = {key: value[None].to(run.upscaler.device) for key, value in samples[0].items()}
    name, channels = run.config["model"]["name"], item["inp"].shape[1]
    try:
        with speed.on_trial(run.upscaler.model), torch.no_grad():
            values = run.upscaler.model(item["inp"], item["coord"], item["cell"])
    except RuntimeError as error:
        hint = "; remove one_channel, a model of RGB takes three" if channels == 1 else ""
        reason = shortened(one_line(str(error).partition("\n")[0]))
        raise InputError(f"model '{name}' cannot compute pictures of {channels} channel(s) ({reason}){hint}") from error
    if values.shape != item["gt"].shape:
        given, wanted = tuple(values.shape), tuple(item["gt"].shape)
        raise InputError(f"model '{name}' gives values of shape {given}; expected that of the targets, {wanted}")


def initialise(model: nn.Module, init: str | Mapping[str, Any]) -> list[str]:
    """Load the weights of a checkpoint: `init: FILE`, all of them; `{path: FILE, parts: [encoder]}`, those of some
    parts; `{path: FILE, parts: fitting}`, those whose names and shapes fit. What to log. InputError where a parameter
    that was asked for is not there."""
    init = {"path": init} if isinstance(init, str) else init
    check_keys(init, ("path", "parts"), "init")
    path, wanted = require(init, "path", "init"), init.get("parts")
    given = checkpoints.load_content(path)["model"].get("sd")
    if wanted is None:
        models.load_parameters(model, given)
        return []
    own, given = model.state_dict(), check_parameters(given)
    fitting = [name for name in own if name in given and given[name].shape == own[name].shape]
    if wanted == "fitting":
        chosen = fitting
    elif isinstance(wanted, list | tuple) and wanted and all(isinstance(part, str) for part in wanted):
        chosen = [name for part in wanted for name, _ in parameters_below(model, part, "init.parts")]
        for name in chosen:
            if name not in fitting:
                there = f"has the shape {tuple(given[name].shape)}" if name in given else "is not there"
                raise InputError(f"init: {name} {there} in {path}; expected {tuple(own[name].shape)}")
    else:
        raise InputError(f"init.parts is {shortened(wanted)}; expected 'fitting' or a list of parts such as [encoder]")
    if not chosen:
        raise InputError(f"init: no parameter of {path} fits this model")
    model.load_state_dict({**own, **{name: given[name] for name in chosen}})
    left = list(dict.fromkeys(name.rpartition(".")[0] for name in own if name not in chosen))
    notice = f"init: {len(chosen)} of {len(own)} parameters from {path}"
    return [f"{notice}; at random: {', '.join(left)}" if left else notice]


def example_batch(run: Run) -> list[Tensor]:
    """Pictures, positions and cells of this process's part of a batch that is always the same, on the device."""
    items, (begin, end) = run.loader.dataset, run.batches.part
    batch = default_collate([items[0, number % len(items.dataset), 0] for number in range(begin, end)])
    example = [batch[key].to(run.upscaler.device) for key in ("inp", "coord", "cell")]
    picture = run.upscaler.normalization.inp.apply(example[0])
    return [picture.contiguous(memory_format=speed.memory_format(run.config)), *example[1:]]


def accelerate(run: Run) -> None:
    """Compile the model of a run, where its config says so, and let several processes train it together; a trial of
    the compiler may leave a notice."""
    mode, model = run.config.get("compile"), run.upscaler.model
    if mode:
        run.network, notice = speed.compiled(model, example_batch(run), run.precision, mode)
        run.notices += [notice] if notice else []
    if processes.count() > 1:
        run.network = speed.in_processes(model, run.network, example_batch(run), run.precision)
