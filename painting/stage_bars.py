"""Progress bars for the stages of one picture that takes long."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from utils.progress import Advance

SLOW = 2  # seconds from which on bars are shown
FORM = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


class StageBars:
    """A listener of `utils.progress`: one bar after the other on a terminal's standard error, gone when its stage ends,
    none before SLOW seconds."""

    def __init__(self, make: Callable[..., Any] = tqdm, clock: Callable[[], float] = time.monotonic):
        self.make, self.clock, self.started = make, clock, clock()

    @contextmanager
    def __call__(self, name: str, total: float) -> Iterator[Advance]:
        delay = max(SLOW - (self.clock() - self.started), 0)
        with self.make(total=total, desc=name, delay=delay, disable=None, leave=False, bar_format=FORM) as bar:
            yield lambda amount: bar.update(min(amount, total - bar.n))
