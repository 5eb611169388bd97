"""Animated GIF, PNG and WebP: frames as they are shown, disposal and blending resolved by Pillow, and their times."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from pictures import deep
from pictures.colour import TRANSPARENT, image_of, palette_image
from pictures.formats import Format
from pictures.metadata import Metadata
from pictures.picture import PEAKS, Animation, Picture, levels
from pictures.reading import described, has_more_frames, name_of, opened, reading_errors
from utils.system import check_memory

ANIMATED = ("GIF", "PNG", "WEBP")  # formats whose further frames are no pages, layers or sizes
RGBA = 4
COPIES = 3  # of all frames, while they are read

DISPOSE = 2  # GIF: frames begin on empty ground


# Of frames in a format: the unit of times in ms, 0 for any, the longest time, and how often all may be shown
TIMES = {"GIF": (10, 655350, 65536), "PNG": (0, 65535, 2**32 - 1), "WEBP": (1, 2**24 - 1, 65535)}


def read_animation(source: str | Path | bytes) -> Animation | None:
    """The animation in a file, or in a file's content; None for anything else, also for what is no picture at all.

    Frames are upright, of one kind: grey where all of them are, with alpha where one is transparent somewhere.
    InputError as `read_picture`, for any broken frame, and when all frames take more memory than there is.
    """
    name = name_of(source)
    try:
        with opened(source) as file:
            if file.format not in ANIMATED or not has_more_frames(file):
                return None
    except Exception:  # whatever is wrong is said by who reads it as a picture
        return None
    with reading_errors(name), opened(source) as file:
        if file.format == "PNG":
            opened(source).verify()
        count = file.n_frames
        check_memory(count * file.width * file.height * RGBA * COPIES, f"{name}: reading {count} frames")
        losses = ("16 bits reduced to 8",) if deep.bits_of(file) > 8 or file.mode.startswith("I") else ()
        frames, durations = [], []
        # A PNG may begin with a picture for viewers that know no animations
        hidden = int(bool(file.info.get("default_image")))
        losses += ("without the picture for viewers that show no animations",) * hidden
        for number in range(hidden, count):
            file.seek(number)
            frames.append(_rgba(file))
            durations.append(float(file.info.get("duration", 0)))
        channels, pixels = _of_one_kind(frames)
        text = getattr(file, "text", {})
        pictures = [
            described(Picture(frame, channels, losses=losses), file.getexif, file.info, text) for frame in pixels
        ]
        return Animation(tuple(pictures), tuple(durations), _plays(file))


def _rgba(file: Image.Image) -> np.ndarray:
    """(h, w, 4) of the frame that a file is at."""
    file.load()
    if not file.mode.startswith("I"):
        return np.array(file.convert("RGBA"))
    grey = levels(np.array(file).astype(np.uint16), 8)
    return np.dstack([grey, grey, grey, np.full_like(grey, PEAKS[8])])


def _of_one_kind(frames: list[np.ndarray]) -> tuple[str, list[np.ndarray]]:
    """The fewest channels that hold all frames (h, w, 4), and the frames with these."""
    grey = all((frame[..., :1] == frame[..., 1:3]).all() for frame in frames)
    opaque = all((frame[..., 3] == PEAKS[8]).all() for frame in frames)
    kept = [0, 3] if grey else [0, 1, 2, 3]
    kept = kept[:-1] if opaque else kept
    channels = "".join(("L" if grey else "RGBA"[channel]) if channel < 3 else "A" for channel in kept)
    return channels, [np.ascontiguousarray(frame[..., kept]) for frame in frames]


def _plays(file: Image.Image) -> int:
    """How often an animation is shown, 0 for without end. A GIF says how often it is repeated, if at all."""
    loop = file.info.get("loop")
    if file.format != "GIF":
        return loop or 0
    return 1 if loop is None else loop and loop + 1


def rounded(durations: Iterable[float], unit: int) -> list[float]:
    """Durations in ms as multiples of `unit` whose sums stay the nearest to the given ones; none above 0 gets 0."""
    if not unit:
        return list(durations)
    made, end = [], 0
    for duration, given_end in zip(durations, accumulate(durations), strict=True):
        made.append(max(unit * round(given_end / unit) - end, unit if duration else 0))
        end += made[-1]
    return made


def save_animation(stream: BinaryIO, form: Format, animation: Animation, metadata: Metadata, compression: int) -> None:
    """Write with Pillow. Neighbouring frames that the format holds as the same become one that lasts as long as both;
    more loops than the format counts are as many as it counts."""
    unit, longest, most = TIMES[form.name]
    plays = min(animation.plays, most)
    options: dict[str, Any] = {**form.options, **metadata.options(form.name), "loop": plays}
    if form.name == "PNG":
        options["compress_level"] = compression
    if form.name == "GIF":
        del options["loop"]
        if plays != 1:
            options["loop"] = max(plays - 1, 0)
        if animation.frames[0].pixel_format.has_alpha:
            options |= {"transparency": TRANSPARENT, "disposal": DISPOSE}
        options["optimize"] = False  # else Pillow writes what does not change as transparent, over what is disposed of
    durations = rounded(animation.durations, unit)
    if max(durations) > longest:
        raise ValueError(f"a frame of {max(durations) / 1000:g} s is beyond {form.name}'s {longest / 1000:g} s")
    first, *others = map(palette_image if form.name == "GIF" else image_of, animation.frames)
    first.save(stream, form.name, save_all=True, append_images=others, duration=durations, **options)


def merged(animation: Animation) -> Animation:
    """With neighbouring frames that are the same object as one."""
    frames, durations = [], []
    for frame, duration in zip(animation.frames, animation.durations, strict=True):
        if frames and frame is frames[-1]:
            durations[-1] += duration
        else:
            frames.append(frame)
            durations.append(duration)
    return replace(animation, frames=tuple(frames), durations=tuple(durations))
