"""Many pictures, stills and animations: reading, painting and writing side by side, shared among processes, with
progress."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from painting.jobs import Job
from painting.painter import Frames, Painter
from painting.plan import PILLOW_PIXEL, Painted, plan
from painting.request import Request
from painting.tars import paint_tar
from pictures.animations import merged
from pictures.picture import Animation, Picture
from utils import processes, progress
from utils.errors import InputError, one_line, printable
from utils.processes import Stopped, watch
from utils.progress import SLOW, Advance, Listener, pipelined, told_to
from utils.system import check_memory

COPIES = 3  # of all painted frames: themselves, Pillow's, and what it compares or compresses
FORM = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


def stage_bars(make: Callable[..., Any] = tqdm) -> Listener:
    """A listener of `utils.progress`: one bar after the other on a terminal's standard error, gone when its stage ends,
    none before SLOW seconds."""
    started = time.monotonic()

    @contextmanager
    def shown(name: str, total: float) -> Iterator[Advance]:
        delay = max(SLOW - (time.monotonic() - started), 0)
        shape = {"total": total, "bar_format": FORM} if total else {}  # some films do not say how many frames they have
        with make(**shape, desc=name, delay=delay, disable=None, leave=False) as bar:
            yield lambda amount: bar.update(min(amount, total - bar.n) if total else amount)

    return shown


def paint_all(painter: Painter, job: Job, content: Picture | Animation | None) -> Painted:
    """Paint a still, an animation or a tar; pictures beside an animation show the first frame. InputError as
    `Painter.paint`, and when all frames take more memory than there is."""
    if content is None:
        return paint_tar(painter, job)
    if isinstance(content, Picture):
        return painter.paint(job, content)
    job = replace(job, form=job.form.of_frames())
    first, count = content.frames[0], len(content.frames)
    height, width = plan(painter.request, job, first).window[2]
    needed = COPIES * count * height * width * PILLOW_PIXEL
    check_memory(needed, f"{job.source}: an output of {count} frames of {width}x{height}", painter.request.memory)
    frames, made, lines, beside = Frames(painter, job), [], {}, None
    started = time.perf_counter()
    with progress.stage("frames", count):
        for painted in map(frames.paint, content.frames):
            made.append(painted.picture)
            lines |= dict.fromkeys(painted.lines[:-1])
            beside = painted.beside if beside is None else beside
    seconds = time.perf_counter() - started
    animation = merged(Animation(tuple(made), content.durations, content.plays))
    h, w = first.size
    sizes, said = f"{w}x{h} -> {width}x{height}", f"{count} frames, {frames.computed} computed in {seconds:.2f} s"
    done = f"{job.source.name}: {sizes}, {said}{painter.note}"
    return Painted(animation, beside, [*lines, done])


def paint_batch(jobs: Sequence[Job], request: Request, single: bool, manifest: Path | None = None) -> str | None:
    """Paint and write all; a mistake about a `single` picture is raised, others are returned, in words. Each result, or
    why there is none, is also a line of a `manifest`."""
    output = sys.stderr if jobs and jobs[0].streams else sys.stdout
    painter = processes.agreed(lambda: Painter(request, output))
    failures, written = [], 0
    try:
        hidden = None if len(jobs) > 1 and processes.is_first() else True
        bars = stage_bars() if len(jobs) == 1 else None
        with watch(), told_to(bars), tqdm(total=len(jobs), unit=" pictures", disable=hidden) as bar:
            started = time.perf_counter()
            for job, outcome in pipelined(jobs, painter.read, partial(paint_all, painter), painter.write):
                if manifest:
                    _note(manifest, job, outcome, time.perf_counter() - started)
                    started = time.perf_counter()
                if isinstance(outcome, InputError):
                    failures.append(outcome)
                else:
                    written += 1
                    bar.write(printable(outcome), file=output)
                bar.update()
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
        print(f"wrote {written} {'files' if any(job.is_tar for job in jobs) else 'pictures'}", file=output)
    if not failures:
        return None
    said = f"{len(failures)} of {written + len(failures)} pictures failed:"
    return "\n".join([said, *(one_line(str(failure)) for failure in failures)])


def _note(manifest: Path, job: Job, outcome: str | InputError, seconds: float) -> None:
    """Append what became of a picture: its result's path, size, SHA-256 and time, or the error."""
    entry: dict[str, Any] = {"input": str(job.source), "output": str(job.target), "seconds": round(seconds, 3)}
    if isinstance(outcome, InputError):
        entry["error"] = str(outcome)
    elif not job.streams:
        content = job.target.read_bytes()
        entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest.parent.mkdir(parents=True, exist_ok=True)
    with manifest.open("a") as file:
        file.write(json.dumps(entry) + "\n")
