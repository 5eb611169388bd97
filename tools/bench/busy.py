"""How much slower work becomes beside one other busy process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from tools.bench.measures import Figure, load, ratio, short_name
from utils.geometry.grids import Size

SMALL: Size = (64, 64)
SPINNING = "while True: pass"


def busy(arguments: Any) -> dict[str, Figure]:
    """Encoding and the whole picture of each model, small and at the input size, alone and beside a process that
    spins."""
    runs: dict[str, Callable[[], Any]] = {}
    for name in arguments.models:
        upscaler = load(name, arguments.backend)
        for size in (SMALL, arguments.input):
            picture, label = torch.rand(3, *size), f"{short_name(name)} {size[1]}x{size[0]}"
            output = tuple(arguments.scale * n for n in size)
            runs[f"{label} encoder"] = lambda u=upscaler, p=picture: u.encode(p)
            runs[f"{label} whole"] = lambda u=upscaler, p=picture, s=output: u(p, s)
    quiet, disturbed = alternating(runs, arguments.repeats)
    figures = {}
    for name in runs:
        figures[f"{name}, s"] = Figure.of(quiet[name])
        figures[f"{name} busy / quiet"] = ratio(disturbed[name], quiet[name])
    return figures


def alternating(
    runs: Mapping[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each run alone and beside the spinning process, in every round, after a warm-up."""
    quiet, disturbed = ({name: [] for name in runs} for _ in range(2))
    with spinning() as spin:
        for run in runs.values():
            run()
        for _ in range(repeats):
            for spins, times in ((False, quiet), (True, disturbed)):
                spin(spins)
                for name, run in runs.items():
                    started = time.perf_counter()
                    run()
                    times[name].append(time.perf_counter() - started)
    return quiet, disturbed


@contextmanager
def spinning() -> Iterator[Callable[[bool], None]]:
    """A process that spins while it is told to; at first it rests."""
    with subprocess.Popen([sys.executable, "-c", SPINNING]) as process:

        def spin(spins: bool) -> None:
            os.kill(process.pid, signal.SIGCONT if spins else signal.SIGSTOP)

        try:
            spin(False)
            yield spin
        finally:
            process.kill()
