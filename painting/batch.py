"""Many pictures: reading, painting and writing side by side, shared among processes, with progress."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any

from tqdm import tqdm

from painting.animations import paint_all
from painting.jobs import Job
from painting.painter import Painter
from painting.request import Request
from utils import processes
from utils.errors import InputError
from utils.pipelines import pipelined
from utils.processes import Stopped, watch
from utils.progress import SLOW, Advance, told_to

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


def paint_batch(jobs: Sequence[Job], request: Request, single: bool) -> str | None:
    """Paint and write all; a mistake about a `single` picture is raised, others are returned, in words."""
    output = sys.stderr if jobs and jobs[0].streams else sys.stdout
    painter = processes.agreed(lambda: Painter(request, output))
    failures, written = [], 0
    try:
        hidden = None if len(jobs) > 1 and processes.is_first() else True
        bars = StageBars() if len(jobs) == 1 else None
        with watch(), told_to(bars), tqdm(total=len(jobs), unit=" pictures", disable=hidden) as progress:
            for _, outcome in pipelined(jobs, Job.read, partial(paint_all, painter), painter.write):
                if isinstance(outcome, InputError):
                    failures.append(outcome)
                else:
                    written += 1
                    progress.write(outcome, file=output)
                progress.update()
    except Stopped as stopped:
        done = f"{stopped} after {written} of {len(jobs)} pictures; --skip-existing goes on with the others"
        raise Stopped(done, stopped.status) from None
    if single and failures:
        raise failures[0]
    counts, failed = zip(*processes.gathered((written, failures)), strict=True)
    written, failures = sum(counts), [*chain(*failed)]
    if not processes.is_first():
        return None
    if not single:
        print(f"wrote {written} pictures", file=output)
    if not failures:
        return None
    return "\n".join([f"{len(failures)} of {written + len(failures)} pictures failed:", *map(str, failures)])
