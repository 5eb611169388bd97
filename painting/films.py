"""Films, painted frame by frame."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np

from painting.jobs import Job
from painting.painter import Frames, Painter
from painting.request import Request
from pictures.films.joining import join, survey
from pictures.films.reading import Frame, describe, read_frames
from pictures.films.writing import Encoder, FilmJob, Segments
from utils import progress
from utils.errors import InputError
from utils.files import atomic_file
from utils.processes import Stopped, watch

SEGMENT = 48  # frames: what a stopped run computes again at most, and how far apart key frames are at least
# Options that change nothing about the frames
WITHOUT_EFFECT = ("input", "output", "resume", "overwrite", "skip_existing", "threads", "gpu", "strict")
Pixels = tuple[np.ndarray, int, int]  # of a frame, its time, its duration


def paint_film(film: FilmJob, request: Request) -> tuple[str, str | None]:
    """Write the film that is made of another; says what was done, and why it ends early where the film is damaged.
    InputError as `Painter.paint`, and, with `--strict`, for a damaged film."""
    description = describe(film.source)  # before a model is loaded
    painter = Painter(request)
    job = Job(film.source, film.target, film.form)
    target = film.target.resolve()
    segments = Segments(target)
    frames = read_frames(film.source, description, film.first, film.last)
    first = next(frames, None)
    if first is None:
        raise InputError(f"--frames {film.first}:{film.last or ''}: {film.source} has fewer frames")
    frames.close()
    painted = painter.paint(job, first.picture)
    encoder = Encoder(film, description, painted.picture)
    done = before = segments.start(_settings(film, request), request.resume, request.overwrite)
    try:
        plan = survey(film, encoder, segments)
        lost = [*description.losses, *plan.lost]
        if request.strict and lost:
            raise InputError(f"{film.source}: {lost[0]}; remove --strict or write a .mkv")
    except InputError:
        if not done:
            segments.remove()
        raise
    lines = [*painted.lines[:-1], *_losses(film, encoder, lost, painted.picture.size)]
    total = (film.last or description.count or 0) - film.first
    if description.count:
        total = min(total, description.count - film.first)
    painting, damage = Frames(painter, job), []
    try:
        frames = read_frames(film.source, description, film.first + done, film.last)
        with watch(), progress.stage("frames", max(total, 0)):
            progress.advance(done)
            made = _painted(frames, painting, damage)
            while added := segments.add(encoder, islice(made, SEGMENT)):
                done += added
    except (Stopped, InputError) as error:
        if not done:
            segments.remove()
            raise
        if isinstance(error, Stopped):
            raise Stopped(f"{error} with {done} frames done; --resume continues after them", error.status) from None
        raise InputError(f"{error}; {done} frames are done, --resume continues after them") from None
    to_its_end = film.last is None or done < film.last - film.first
    if not damage and to_its_end and plan.cut_short:
        damage.append(f"{film.source} is cut short")
    if damage and (request.strict or not done):
        segments.remove()
        rest = f"; remove --strict to keep the {done} frames before" if done else ""
        raise InputError(f"{damage[0]}{rest}")
    with atomic_file(target) as temporary:
        join(film, encoder, segments, plan, temporary, describe=not request.strip_metadata)
    segments.remove()
    height, width = encoder.size
    given_height, given_width = first.picture.size
    said = f"{done} frames, {painting.computed} computed" + (f", {before} from before" if before else "")
    lines.append(f"{film.source.name}: {given_width}x{given_height} -> {width}x{height}, {said}, wrote {film.target}")
    ends = f"; {film.target} ends there, after {done} frames"
    return "\n".join(lines), damage[0] + ends if damage else None


def _painted(frames: Iterator[Frame], painting: Frames, damage: list[str]) -> Iterator[Pixels]:
    """Painted frames; ends where the film is damaged, which it adds to `damage`."""
    while True:
        try:
            frame = next(frames, None)
        except InputError as error:
            damage.append(str(error))
            return
        if frame is None:
            return
        yield painting.paint(frame.picture).picture.pixels, frame.time, frame.duration


def _losses(film: FilmJob, encoder: Encoder, lost: list[str], size: tuple[int, int]) -> list[str]:
    said = [f"{film.source}: {what}" for what in lost]
    if size != encoder.size:
        cut = [f"{a - b} {name}" for a, b, name in zip(size, encoder.size, ("row", "column"), strict=True) if a > b]
        said.append(f"{film.target}: without the last {' and '.join(cut)}: {encoder.layout} has even sides")
    return said


def _settings(film: FilmJob, request: Request) -> dict[str, Any]:
    """The options and files that decide how frames look."""
    settings = {name: value for name, value in asdict(request).items() if name not in WITHOUT_EFFECT}
    files = {"input": film.source, "model": request.model, "upsampler": request.upsampler}
    for name, path in files.items():
        if path and os.path.isfile(path):
            about = os.stat(path)
            settings[name] = f"{os.path.realpath(path)} {about.st_size} {about.st_mtime_ns}"
    return {name: str(value) for name, value in settings.items()}
