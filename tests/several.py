"""Programs in several processes, as torchrun starts them, but forked: PyTorch is imported already."""

import os
import signal
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.forks import ended, fork
from training import loop


def in_processes(count: int, program: Any, arguments: Sequence[Any], prepare: Callable[[int], None] | None = None):
    """Run a program in so many processes, each of which may `prepare(rank)` before: their exit statuses, and what each
    printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outputs = [Path(f"process-{rank}.txt").resolve() for rank in range(count)]
    started = [
        fork(program, arguments, output, partial(_prepare, rank, count, port, prepare))
        for rank, output in enumerate(outputs)
    ]
    return [ended(process) for process in started], [output.read_text() for output in outputs]


def _prepare(rank: int, count: int, port: int, prepare: Callable[[int], None] | None) -> None:
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    if prepare:
        prepare(rank)


def kill_at(step: int, rank: int = 0, number: int = signal.SIGKILL) -> Callable[[int], None]:
    """Lets the process of that rank send itself a signal before that step of its training."""

    def prepare(own: int) -> None:
        def train_step(run, batch):
            if run.step == step and own == rank:
                os.kill(os.getpid(), number)
            return step_of_loop(run, batch)

        step_of_loop = loop.train_step
        loop.train_step = train_step

    return prepare
