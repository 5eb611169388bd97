"""Interrupt trainings at random, resume them, and compare with an uninterrupted one: `python -m tests.faults --count
100 --seed 1`.

A tiny training is interrupted by kill -9, SIGTERM or Ctrl-C up to five times, then left to its end. Its checkpoints
must equal those of the same training without interruptions, bit for bit: weights, optimiser, best score, step.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

import train
from models.checkpoints.loading import load_checkpoint
from tests.conftest import SMALL_LMLIIF
from tests.several import ended, fork

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# The exit statuses that each leads to; before it listens, SIGTERM ends a program at once.
ENDED = {signal.SIGKILL: (-9,), signal.SIGTERM: (143, -15), signal.SIGINT: (130,)}
LATE = "too late"
LONGEST_CHAIN = 5
EVENTS = 110  # about as many files are touched by the whole training


def make_config(folder: Path) -> Path:
    """A training of 4 epochs of 3 steps, validated after each, kept after every second, in `folder`."""
    generator = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for i in range(3):
        Image.fromarray(generator.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"pictures/{i}.png")
    dataset = {"name": "image-folder", "args": {"root_path": str(folder / "pictures"), "repeat": 4, "cache": "bin"}}
    crops = {"inp_size": 8, "scale_max": 4, "sample_q": 32, "augment": True}
    samples = {"dataset": dataset, "wrapper": {"name": "sr-implicit-downsampled", "args": crops}, "batch_size": 4}
    config = {
        "train_dataset": samples,
        "val_dataset": samples,
        "model": SMALL_LMLIIF,
        "optimizer": {"name": "adam", "args": {"lr": 0.01}},
        "cosine_lr": {"warmup_steps": 2},
        "epoch_max": 4,
        "epoch_save": 2,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def start(config: Path, name: str, workers: int, prepare: Callable[[], None] | None = None) -> int:
    """The number of a process that trains the run of that name, from its checkpoint if there is one."""
    return fork(train, options(config, name, workers), config.parent / f"{name}.txt", prepare)


def options(config: Path, name: str, workers: int) -> list[str]:
    """What train.py is given for it."""
    root = config.parent / "save"
    arguments = ["--config", str(config), "--name", name, "--save-root", str(root), "--device", "cpu"]
    arguments += ["--threads", "1"]  # forked processes have one, whatever the first has
    arguments += ["--set", f"num_workers={workers}"]
    if (root / name / "epoch-last.pth").exists():
        arguments.append("--resume")
    return arguments


def at_event(number: int, which: int, folder: Path) -> Callable[[], None]:
    """Makes the process send itself a signal when it touches the files in `folder` for the n-th time."""
    left = [number]

    def touched(event: str, arguments: tuple) -> None:
        if any(isinstance(a, str | Path) and str(a).startswith(str(folder)) for a in arguments):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), which)

    return lambda: sys.addaudithook(touched)


def wait(process: int, output: Path) -> int:
    """Exit status of the process that writes to `output`; 0 also where the run turned out to be complete."""
    status = ended(process)
    return 0 if status == 2 and output.read_text().endswith("raise epoch_max to train on\n") else status


def interrupt(config: Path, name: str, workers: int, choose: random.Random, seconds: float | None) -> str:
    """Train and send a signal at a random file operation, or after up to so many `seconds`: what came of it."""
    which = choose.choice(SIGNALS)
    folder = config.parent / "save" / name
    if seconds is None:
        process = start(config, name, workers, at_event(choose.randint(1, EVENTS), which, folder))
    else:
        process = start(config, name, workers)
        time.sleep(choose.uniform(0, seconds))
        os.kill(process, which)
    output = config.parent / f"{name}.txt"
    status = wait(process, output)
    if status not in (0, *ENDED[which]):
        raise SystemExit(f"{name}: {which.name} ended it with {status}:\n{output.read_text()}")
    return LATE if status == 0 else which.name


def complete(config: Path, name: str, workers: int) -> None:
    """Train to the end."""
    output = config.parent / f"{name}.txt"
    if status := wait(start(config, name, workers), output):
        raise SystemExit(f"{name} ended with {status}:\n{output.read_text()}")


def content(folder: Path) -> dict[str, Any]:
    """Everything in the checkpoints of a run, but the number of workers."""
    found = {path.name: load_checkpoint(path) for path in folder.glob("*.pth")}
    for state in found.values():
        state["config"].pop("num_workers")
    return found


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="interruptions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events-only", action="store_true", help="at random file operations, never by the clock")
    arguments = parser.parse_args(given)
    choose = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as place:
        config = make_config(Path(place).resolve())
        began = time.monotonic()
        # In this process, so that those forked from it find imported what a training imports
        train.main(options(config, "whole", 0))
        seconds = time.monotonic() - began
        whole = content(config.parent / "save/whole")
        found: Counter[str] = Counter()
        chains = different = 0
        while found.total() - found[LATE] < arguments.count:
            name, workers = f"chain-{chains}", 2 * (chains % 2)
            for _ in range(choose.randint(1, LONGEST_CHAIN)):
                by_clock = not arguments.events_only and choose.random() < 0.5
                what = interrupt(config, name, workers, choose, seconds if by_clock else None)
                found[what] += 1
                if what == LATE:
                    break
            else:
                complete(config, name, workers)
            folder = config.parent / "save" / name
            left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
            if left or not equal(content(folder), whole):
                different += 1
                print(f"{name} differs, {workers} workers, left behind: {left}\n{(folder / 'log.txt').read_text()}")
            chains += 1
    kinds = ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
    print(f"{found.total() - found[LATE]} interruptions ({kinds}) of {chains} trainings: {different} differ")
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
