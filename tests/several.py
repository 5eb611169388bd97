"""Programs in processes that are forked from the tests' own, where PyTorch is imported already; several of them as
torchrun starts them."""

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from training import loop
from utils import cli


def fork(program: Any, arguments: Sequence[Any], output: Path, prepare: Callable[[], None] | None = None) -> int:
    """The number of a process that calls a program's `main` as its file does, after `prepare`, with one thread. What it
    prints is in `output`, which is empty until the process has begun."""
    output.write_text("")
    process = os.fork()
    if process:
        return process
    status: Any = 1
    try:
        file = os.open(output, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115, pytest has others
        torch.set_num_threads(1)
        if prepare:
            prepare()
        cli.run(lambda _: program.main([str(argument) for argument in arguments]))
        status = 0
    except SystemExit as ended:
        status = ended.code
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def ended(process: int) -> int:
    """Wait for a process: its exit status, or -N where signal N ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


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
