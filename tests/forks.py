"""Programs in processes that are forked from the tests' own, where PyTorch is imported already."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

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
