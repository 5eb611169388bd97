"""Animations through a painter, frame by frame; stills as they are."""

import time
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from painting.jobs import Job
from painting.painter import Painted, Painter
from painting.plan import PILLOW_PIXEL
from pictures.animations import check_times, merged
from pictures.picture import Animation, Picture
from utils.progress import SLOW, told_to
from utils.system import check_memory

COPIES = 3  # of all painted frames: themselves, Pillow's, and what it compares or compresses


def paint_all(painter: Painter, job: Job, content: Picture | Animation) -> Painted:
    """What is made of a still or of an animation; pictures beside it show the first frame. InputError as
    `Painter.paint`, and when the format cannot hold the times or all frames take more memory than there is."""
    if isinstance(content, Picture):
        return painter.paint(job, content)
    check_times(job.target, job.form, content)
    job = replace(job, form=job.form.of_frames())
    first, count = content.frames[0], len(content.frames)
    height, width = painter.output_size(first)
    needed = COPIES * count * height * width * PILLOW_PIXEL
    check_memory(needed, f"{job.source}: an output of {count} frames of {width}x{height}", painter.request.memory)
    made, lines, computed, started = [], [], 0, time.perf_counter()
    before = beside = None
    bar = tqdm(total=count, unit=" frames", disable=None, delay=SLOW, leave=False)
    with told_to(None), bar as progress:
        for frame in content.frames:
            if before is None or not np.array_equal(before.pixels, frame.pixels):
                painted = painter.paint(job, frame)
                beside = painted.beside if beside is None else beside
                lines += [line for line in painted.lines[:-1] if line not in lines]
                computed += 1
            made.append(painted.picture)
            before = frame
            progress.update()
    seconds = time.perf_counter() - started
    animation = merged(Animation(tuple(made), content.durations, content.plays))
    h, w = first.size
    done = (
        f"{job.source.name}: {w}x{h} -> {width}x{height}, {count} frames, {computed} computed "
        f"in {seconds:.2f} s{painter.note}"
    )
    return Painted(animation, beside, [*lines, done], painter.request.compression)
