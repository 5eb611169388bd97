"""train.py, of which the second process dies before step 2, the first time that torchrun starts it."""

import os
import signal
from collections.abc import Sequence

import train
from training import loop
from utils import cli, processes


def train_step(run, batch) -> float:
    if run.step == 2 and processes.rank() == 1 and not processes.restarted():
        os.kill(os.getpid(), signal.SIGKILL)
    return step_of_loop(run, batch)


def main(arguments: Sequence[str] | None = None) -> None:
    loop.train_step = train_step
    train.main(arguments)


step_of_loop = loop.train_step

if __name__ == "__main__":
    cli.run(main)
