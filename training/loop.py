"""The train loop: steps, epochs, and what happens when a run should stop."""

import logging
import math
import sys
import time
from collections.abc import Mapping

import torch
from torch import Tensor
from tqdm import tqdm

from evaluation.measure import validate
from evaluation.metrics import parse_eval_type
from evaluation.val_metrics import extra_scores
from training import parts
from training.run import LAST, PRECISIONS, Run
from training.validation import validation_picture
from utils import stopping
from utils.errors import InputError
from utils.events import EventLog
from utils.random_state import seed_everything


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
    factor = parts.learning_rate_factor(run.step, len(run.batches), config)
    for group, base_rate in zip(run.optimizer.param_groups, run.base_rates, strict=True):
        group["lr"] = base_rate * factor
    run.optimizer.zero_grad()
    loss = torch.zeros((), device=upscaler.device)
    for part in parts.batch_parts(batch, config.get("accumulate") or 1):
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
    parts.check_finite(loss, parameters)
    if config.get("ema"):
        parts.average(run.released.model, upscaler.model, config["ema"], run.step)
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
        names = run.config.get("val_metrics") or ()
        extra = extra_scores(run.released, run.val_samples, names, protocol, queries) if names else {}
        for name, value in extra.items():
            scalars[f"{name}/val"] = value
            line += f", {name.upper()} {value:.4f}"
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
