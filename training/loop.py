"""The train loop: steps, epochs, and what happens when a run should stop."""

import logging
import math
import sys
import time
from collections.abc import Mapping

import torch
from torch import Tensor
from tqdm import tqdm

from evaluation.protocols import parse_eval_type
from evaluation.validation import validate
from pictures.tensors import to_pixels
from pictures.writing import write_picture
from training import parts, speed
from training.plot import plot_history
from training.run import BEST, LAST, Run
from training.validation import validation_strip
from training.watching import Meter, add_to_history, duration
from utils import processes
from utils.errors import InputError
from utils.events import EventLog
from utils.random_state import seed_everything


def train(run: Run, log: logging.Logger) -> None:
    """Train to the end, or until the run should stop: then the log says how to go on."""
    events = EventLog(run.folder / "tensorboard") if processes.is_first() else None
    try:
        while not run.done:
            run.meter = Meter()
            if not run.pending:
                train_epoch(run)
            stops = agree_to_stop(run)
            if run.step % len(run.batches) == 0 and not stops:
                log.info(finish_epoch(run, events))
                stops = agree_to_stop(run)
            if stops and not run.done:
                log.info(f"the time is up; {how_to_go_on(run)}")
                break
    except processes.Stopped as stopped:
        log.info(f"step {run.step}: {stopped}; {how_to_go_on(run)}")
        sys.exit(stopped.status)
    finally:
        del run.loader  # ends its workers now; at the program's end PyTorch would wait for each


def agree_to_stop(run: Run) -> bool:
    """Whether one of the job's processes should stop, so that all of them do."""
    return run.stop.agreed(processes.gathered(run.stop.state))


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
    batches = run.meter.waiting(run.loader)
    with run.stop.deferred():
        try:
            for batch in tqdm(batches, desc=f"epoch {done + 1}", total=remaining, leave=False, disable=hidden):
                loss = train_step(run, batch)
                run.losses = (run.losses[0] + loss, run.losses[1] + 1)
                run.step += 1
                if agree_to_stop(run):
                    break
                if run.save_every.due(run.step):
                    run.save(LAST)
        except (InputError, processes.Lost):  # a picture that cannot be read any more, a process that has ended
            run.save(LAST)
            raise
        run.upscaler.model.eval()
        run.pending = run.step % len(run.batches) == 0 and (run.validates or run.keeps)
        run.save(LAST)


def train_step(run: Run, batch: Mapping[str, Tensor]) -> float:
    """One step of the optimiser, over what all processes have of a batch: the loss."""
    config, upscaler = run.config, run.upscaler
    seed_everything(config.get("seed", 0), run.step, *([] if processes.is_first() else [processes.rank()]))
    factor = parts.learning_rate_factor(run.step, len(run.batches), config)
    for group, base_rate in zip(run.optimizer.param_groups, run.base_rates, strict=True):
        group["lr"] = base_rate * factor
    run.optimizer.zero_grad()
    own_loss = torch.zeros((), device=upscaler.device)
    batch_parts = list(parts.batch_parts(batch, config.get("accumulate") or 1))
    for number, part in enumerate(batch_parts, 1):
        share = len(part["inp"]) / run.batches.batch_size
        last = number == len(batch_parts)
        with processes.answering(), speed.unsynchronised(run.network, last):
            part_loss = share * loss_of(
                run, {key: value.to(upscaler.device, non_blocking=True) for key, value in part.items()}
            )
            run.scaler.scale(part_loss * processes.count()).backward()  # processes take the mean of their gradients
        own_loss += part_loss.detach()
    loss = sum(processes.gathered(own_loss.item()))
    run.scaler.unscale_(run.optimizer)
    parameters = list(upscaler.model.parameters())
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if config.get("clip_grad"):
        torch.nn.utils.clip_grads_with_norm_(parameters, config["clip_grad"], norm)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    parts.check_finite(loss, parameters)
    if config.get("ema"):
        parts.average(run.released.model, upscaler.model, config["ema"], run.step)
    run.meter.add(norm.item())
    return loss


def loss_of(run: Run, batch: Mapping[str, Tensor]) -> Tensor:
    normalization, device = run.upscaler.normalization, run.upscaler.device
    inp = normalization.inp.apply(batch["inp"]).contiguous(memory_format=speed.memory_format(run.config))
    with speed.autocast(run.precision, device):
        values = run.network(inp, batch["coord"], batch["cell"])
    return run.loss_function(values.float(), normalization.gt.apply(batch["gt"], channels_last=True))


def finish_epoch(run: Run, events: EventLog | None) -> str:
    """Validate, save and report; the line for the log. Only the first of several processes has `events`."""
    loss, rate = run.losses[0] / run.losses[1], run.optimizer.param_groups[0]["lr"]
    line = f"epoch {run.epoch}/{run.config['epoch_max']} step {run.step}: lr {rate:.3g}, loss {loss:.5f}"
    figures = run.meter.figures(run.batches.batch_size)
    scalars, pictures = {"loss/train": loss, "lr": rate, **figures}, {}
    if run.validates:
        protocol, _ = parse_eval_type(run.config.get("eval_type"))
        batch_size, queries = run.config["val_dataset"].get("batch_size", 1), run.config.get("eval_bsize")
        scores = validate(run.released, run.val_samples, protocol, batch_size, queries, run.val_metrics)
        scalars |= {f"{name}/val": value for name, value in scores.items()}
        score = scores["psnr"]
        line += f", val PSNR {score:.3f} dB"
        for name, metric in run.val_metrics.items():
            line += f", {metric.heading} {scores[name]:.{metric.digits}f}"
    if events:
        if run.validates:
            pictures["validation"] = validation_strip(run.released, run.val_samples)
        events.add(run.step, scalars, pictures)
        report_epoch(run, scalars, pictures)
    if run.pending:
        with run.stop.deferred():
            run.pending = False
            if scalars.get("psnr/val", -math.inf) > run.best:
                run.best = score
                run.save(BEST)
            if run.keeps:
                run.save(f"epoch-{run.epoch}.pth")
            run.save(LAST)
    line += f", {duration(time.monotonic() - run.meter.started)}"
    if figures:
        line += f", {figures['samples_per_second']:.3g} samples/s, waiting {figures['waiting_share']:.0%}"
    left = run.meter.left(run.config["epoch_max"] * len(run.batches) - run.step)
    return line if left is None or run.done else f"{line}, {left} left"


def report_epoch(run: Run, scalars: Mapping[str, float], pictures: Mapping[str, Tensor]) -> None:
    """What an epoch was like, in the files of the run that people look at."""
    row = {key.partition("/")[0]: value for key, value in scalars.items()}
    place = {"epoch": run.epoch, "step": run.step, "time": time.time()}
    row |= place | {"seconds": time.monotonic() - run.meter.started}
    plot_history(run.folder, add_to_history(run.folder, row))
    for name, picture in pictures.items():
        write_picture(run.folder / f"{name}.png", to_pixels(picture))
