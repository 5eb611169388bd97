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
from contextlib import chdir
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import train
from models.checkpoints.loading import load_checkpoint
from tests.several import ended, fork
from tests.trainings import train_config

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# The exit statuses that each leads to; before it listens, SIGTERM ends a program at once.
ENDED = {signal.SIGKILL: (-9,), signal.SIGTERM: (143, -15), signal.SIGINT: (130,)}
LATE = "too late"
LONGEST_CHAIN = 5
EVENTS = 110  # about as many files are touched by the whole training


def make_config() -> None:
    """config.yaml: a training of 4 epochs of 3 steps, validated after each, kept after every second."""
    Path("pictures").mkdir()
    for number in range(3):
        Image.effect_noise((40, 40), 60).convert("RGB").save(f"pictures/{number}.png")
    train_config(Path("pictures"), multi_step_lr=None, cosine_lr={"warmup_steps": 2})


def options(name: str, workers: int) -> list[str]:
    """What train.py is given for the run of that name, which goes on from its checkpoint if there is one."""
    caches = [f"{part}_dataset.dataset.args.cache=bin" for part in ("train", "val")]
    arguments = ["--config", "config.yaml", "--name", name, "--device", "cpu"]
    arguments += ["--threads", "1"]  # forked processes have one, whatever the first has
    arguments += ["--set", f"num_workers={workers}", *caches]
    return [*arguments, "--resume"] if Path("save", name, "epoch-last.pth").exists() else arguments


def at_event(number: int, which: int, folder: Path) -> Callable[[], None]:
    """Makes the process send itself a signal when it touches the files in `folder` for the n-th time."""
    left = [number]

    def touched(event: str, arguments: tuple) -> None:
        if any(isinstance(a, str | Path) and str(a).startswith(str(folder)) for a in arguments):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), which)

    return lambda: sys.addaudithook(touched)


def interrupt(name: str, workers: int, choose: random.Random, seconds: float | None) -> str:
    """Train and send a signal at a random file operation, or after up to so many `seconds`: what came of it."""
    which, output = choose.choice(SIGNALS), Path(f"{name}.txt")
    if seconds is None:
        prepare = at_event(choose.randint(1, EVENTS), which, Path("save", name))
        process = fork(train, options(name, workers), output, prepare)
    else:
        process = fork(train, options(name, workers), output)
        time.sleep(choose.uniform(0, seconds))
        os.kill(process, which)
    return which.name if finished(process, output, ENDED[which]) else LATE


def finished(process: int, output: Path, expected: Sequence[int] = ()) -> int:
    """Exit status of a training, 0 also where it turned out to be complete; ends the program for one not `expected`."""
    status = ended(process)
    if status == 2 and output.read_text().endswith("raise epoch_max to train on\n"):
        status = 0
    if status not in (0, *expected):
        raise SystemExit(f"{output.stem} ended with {status}:\n{output.read_text()}")
    return status


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
    with tempfile.TemporaryDirectory() as place, chdir(place):
        make_config()
        began = time.monotonic()
        # In this process, so that those forked from it find imported what a training imports
        train.main(options("whole", 0))
        seconds = time.monotonic() - began
        whole = content(Path("save/whole"))
        found: Counter[str] = Counter()
        chains = different = 0
        while found.total() - found[LATE] < arguments.count:
            name, workers = f"chain-{chains}", 2 * (chains % 2)
            for _ in range(choose.randint(1, LONGEST_CHAIN)):
                by_clock = not arguments.events_only and choose.random() < 0.5
                what = interrupt(name, workers, choose, seconds if by_clock else None)
                found[what] += 1
                if what == LATE:
                    break
            else:
                finished(fork(train, options(name, workers), Path(f"{name}.txt")), Path(f"{name}.txt"))
            folder = Path("save", name)
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
