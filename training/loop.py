"""The train loop: steps, epochs, and stopping."""

import logging
import math
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import Tensor
from tqdm import tqdm

from evaluation.protocols import parse_eval_type
from evaluation.validation import validate
from pictures.tensors import to_pixels
from pictures.writing import write_picture
from training import parts, speed
from training.report import (
    EventLog,
    Meter,
    add_to_curves,
    add_to_history,
    cut_curves,
    dead_units,
    duration,
    make_logger,
    plot_history,
    validation_strip,
)
from training.setup import example_batch
from training.state import BEST, LAST, Run
from utils import processes
from utils.errors import InputError
from utils.random_state import seed_everything


def train(run: Run, log: logging.Logger) -> None:
    """Train to the end, or until the run should stop: then the log says how to go on."""
    if processes.is_first():
        run.events = EventLog(run.folder / "tensorboard")
        run.track = make_logger(run.config.get("logger"), run.folder, run.config)
        cut_curves(run.folder, run.step)
    try:
        while not run.done:
            run.meter = Meter()
            if not run.pending:
                train_epoch(run)
            stops, _ = agree(run)
            if run.step % len(run.batches) == 0 and not stops:
                log.info(finish_epoch(run))
                stops, _ = agree(run)
            if stops and not run.done:
                log.info(f"the time is up; {how_to_go_on(run)}")
                break
    except processes.Stopped as stopped:
        log.info(f"step {run.step}: {stopped}; {how_to_go_on(run)}")
        sys.exit(stopped.status)
    finally:
        del run.loader  # ends its workers now; at the program's end PyTorch would wait for each


def agree(run: Run) -> tuple[bool, bool]:
    """(all processes stop, because one of them should; all save, because the first one should)."""
    states, due = zip(*processes.gathered((run.stop.state, run.save_every.due(run.step))), strict=True)
    return run.stop.agreed(states), due[0]


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
    run.network.train()
    hidden = None if processes.is_first() else True
    batches = parts.on_device(run.meter.waiting(run.loader), run.upscaler.device)
    with run.stop.deferred():
        try:
            for batch in tqdm(batches, desc=f"epoch {done + 1}", total=remaining, leave=False, disable=hidden):
                run.unread.append(train_step(run, batch))
                run.step += 1
                stops, saves = agree(run)
                if stops or saves or len(run.unread) >= run.read_every:
                    run.read()
                if stops:
                    break
                if saves:
                    save(run)
        except (InputError, processes.Lost):  # a picture that cannot be read any more, a process that has ended
            if run.step and (processes.count() == 1 or not run.unread):
                run.read()
                save(run)
            raise
        run.read()
        run.upscaler.model.eval()
        run.pending = run.step % len(run.batches) == 0 and (run.validates or run.keeps)
        save(run)


def save(run: Run) -> None:
    """Write the curves of the run and its state, in this order: a resumed run drops what comes after its state."""
    if processes.is_first():
        add_to_curves(run.folder, run.curve)
        for row in run.curve:
            run.events.add(row["step"], {f"{key}/step": row[key] for key in ("loss", "gradient_norm")})
    run.curve = []
    run.save(LAST)


def train_step(run: Run, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """One step of the optimiser, over what all processes have of a batch on the device: this process's share of the
    loss, and the norm of the gradients. Nothing asks the device for a value."""
    config, model, normalization = run.config, run.upscaler.model, run.upscaler.normalization
    seed_everything(config.get("seed", 0), run.step, *([] if processes.is_first() else [processes.rank()]))
    factor = run.schedule.factor(run.step)
    for group, base_rate in zip(run.optimizer.param_groups, run.base_rates, strict=True):
        group["lr"] = base_rate * factor
    run.optimizer.zero_grad()
    own_loss = torch.zeros((), device=run.upscaler.device)
    batch_parts = list(parts.batch_parts(batch, config.get("accumulate") or 1))
    for number, part in enumerate(batch_parts, 1):
        share = len(part["inp"]) / run.batches.batch_size
        last = number == len(batch_parts)
        held = nullcontext() if last or processes.count() == 1 else run.network.no_sync()
        with processes.answering(), held:
            inp = normalization.inp.apply(part["inp"]).contiguous(memory_format=speed.memory_format(config))
            with speed.autocast(run.precision, run.upscaler.device):
                values = run.network(inp, part["coord"], part["cell"])
            gt = normalization.gt.apply(part["gt"], channels_last=True)
            part_loss = share * run.loss(values.float(), gt)  # the mean over a batch's items
            run.scaler.scale(part_loss * processes.count()).backward()  # processes take the mean of their gradients
        own_loss += part_loss.detach()
    run.scaler.unscale_(run.optimizer)
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])
    if config.get("clip_grad"):
        torch.nn.utils.clip_grads_with_norm_(parameters, config["clip_grad"], norm)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.loss.train_step()
    if config.get("ema"):
        parts.average(run.released.model, model, config["ema"], run.step)
    return own_loss, norm


def finish_epoch(run: Run) -> str:
    """Validate, save and report; the line for the log."""
    loss, rate = run.losses[0] / run.losses[1], run.optimizer.param_groups[0]["lr"]
    line = f"epoch {run.epoch}/{run.config['epoch_max']} step {run.step}: lr {rate:.3g}, loss {loss:.5f}"
    figures = run.meter.figures(run.batches.batch_size)
    scalars = {"loss/train": loss, "lr": rate, **figures}
    share = dead_units(run.upscaler.model, lambda: example_batch(run))
    if share is not None:
        scalars["dead_units"] = share
        line += f", {share:.0%} of units dead"
    if run.validates:
        protocol, _ = parse_eval_type(run.config.get("eval_type"))
        batch_size, queries = run.config["val_dataset"].get("batch_size", 1), run.config.get("eval_bsize")
        scores = validate(run.released, run.val_samples, protocol, batch_size, queries, run.val_metrics)
        scalars |= {f"{name}/val": value for name, value in scores.items()}
        line += f", val PSNR {scores['psnr']:.3f} dB"
        for name, metric in run.val_metrics.items():
            line += f", {metric.heading} {scores[name]:.{metric.digits}f}"
    if processes.is_first():
        report(run, scalars)
    if run.pending:
        with run.stop.deferred():
            run.pending = False
            if scalars.get("psnr/val", -math.inf) > run.best:
                run.best = scalars["psnr/val"]
                run.save(BEST)
            if run.keeps:
                run.save(f"epoch-{run.epoch}.pth")
            run.save(LAST)
    line += f", {duration(time.monotonic() - run.meter.started)}"
    if figures:
        line += f", {figures['samples_per_second']:.3g} samples/s, waiting {figures['waiting_share']:.0%}"
    left = run.meter.left(run.config["epoch_max"] * len(run.batches) - run.step)
    return line if left is None or run.done else f"{line}, {left} left"


def report(run: Run, scalars: Mapping[str, float]) -> None:
    """Write what an epoch was like to TensorBoard, the tracker and the files of the run that people look at."""
    pictures = {"validation": validation_strip(run.released, run.val_samples)} if run.validates else {}
    run.events.add(run.step, scalars, pictures)
    run.track(scalars, run.step)
    row = {key.partition("/")[0]: value for key, value in scalars.items()}
    row |= {"epoch": run.epoch, "step": run.step, "time": round(time.time())}
    row |= {"seconds": time.monotonic() - run.meter.started}
    plot_history(run.folder, add_to_history(run.folder, row))
    for name, picture in pictures.items():
        write_picture(run.folder / f"{name}.png", to_pixels(picture))
