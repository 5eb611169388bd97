"""Programs in several processes, as torchrun starts them, but forked: PyTorch is imported already."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from training import loop
from utils import cli


def in_processes(count: int, program: Any, arguments: Sequence[Any], prepare: Callable[[int], None] | None = None):
    """Run a program in so many processes, each of which may `prepare(rank)` before: their exit statuses, and what each
    printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [_start(rank, count, port, program, [str(a) for a in arguments], prepare) for rank in range(count)]
    statuses = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process, _ in started]
    return statuses, [output.read_text() for _, output in started]


def _start(rank: int, count: int, port: int, program: Any, arguments: list[str], prepare: Any) -> tuple[int, Path]:
    output = Path(f"process-{rank}.txt").resolve()
    process = os.fork()
    if process:
        return process, output
    status = 1
    try:
        os.environ |= {
            "RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo",
        }  # fmt: skip
        file = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115, pytest has others
        torch.set_num_threads(1)
        if prepare:
            prepare(rank)
        cli.run(lambda _: program.main(arguments))
        status = 0
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


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
