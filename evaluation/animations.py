"""Animations through a painter, frame by frame; stills as they are."""

import time
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from evaluation.outputs import Painted, PicturePainter
from utils.memory import check_memory
from utils.pictures.animation_writing import check_times, merged
from utils.pictures.batches import Job
from utils.pictures.picture import Animation, Picture

COPIES = 3  # of all painted frames: themselves, Pillow's, and what it compares or compresses
SLOW = 2  # seconds, after which progress is shown


def paint_all(painter: PicturePainter, job: Job, content: Picture | Animation) -> Painted:
    """What is made of a still or of an animation; pictures beside it show the first frame. InputError as
    `PicturePainter.paint`, and when the format cannot hold the times or all frames take more memory than there is."""
    if isinstance(content, Picture):
        return painter.paint(job, content)
    check_times(job.target, job.form, content)
    first, count = content.frames[0], len(content.frames)
    height, width = painter.output_size(first)
    needed = COPIES * count * height * width * len(first.channels)
    check_memory(needed, f"{job.source}: an output of {count} frames of {width}x{height}", painter.arguments.memory)
    made, computed, started = [], [], time.perf_counter()
    before = None
    with tqdm(total=count, unit=" frames", disable=None, delay=SLOW, leave=False) as progress:
        for frame in content.frames:
            if before is None or not np.array_equal(before.pixels, frame.pixels):
                painted = painter.paint(job, frame)
                computed.append(painted)
            made.append(computed[-1].picture)
            before = frame
            progress.update()
    seconds = time.perf_counter() - started
    animation = merged(Animation(tuple(made), content.durations, content.plays))
    *lines, _ = computed[0].lines
    h, w = first.size
    done = (
        f"{job.source.name}: {w}x{h} -> {width}x{height}, {count} frames, {len(computed)} computed "
        f"in {seconds:.2f} s{painter.note}"
    )
    return replace(computed[0], picture=animation, lines=[*lines, done])
