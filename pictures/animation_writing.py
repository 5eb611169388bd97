"""Writing animated GIF, PNG and WebP."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from pictures.formats import Format
from pictures.metadata import Metadata
from pictures.palettes import TRANSPARENT, palette_image
from pictures.picture import Animation, Picture
from utils.errors import InputError

DISPOSE = 2  # GIF: frames begin on empty ground


@dataclass(frozen=True)
class Times:
    """Of frames in a format: multiples of `unit` ms, 0 for any, up to `longest` ms; shown up to `plays` times."""

    unit: int
    longest: float
    plays: int


TIMES = {
    "GIF": Times(10, 10 * 65535, 65536),
    "PNG": Times(0, 1000 * 65535, 2**32 - 1),
    "WEBP": Times(1, 2**24 - 1, 65535),
}


def check_times(path: str | Path, form: Format, animation: Animation) -> None:
    """InputError when the format cannot hold the times of the animation."""
    times = TIMES[form.name]
    if max(animation.durations) > times.longest:
        longest = f"{max(animation.durations) / 1000:.0f} s"
        raise InputError(f"cannot write {path}: a frame of {longest} is beyond {form.name}; write a .png")


def encode_animation(
    stream: BinaryIO, path: str | Path, form: Format, animation: Animation, compression: int
) -> list[str]:
    """Write to an empty stream, that can go back; returns what of the metadata could not be written, in words.

    Neighbouring frames that the format holds as the same are written as one that lasts as long as both. More loops than
    the format counts are as many as it counts. InputError as `write_picture`.
    """
    lost = []
    try:
        try:
            _save(stream, form, animation, animation.frames[0].metadata, compression)
        except Exception as error:  # Pillow's writers raise anything at all for metadata that they cannot write
            if animation.frames[0].metadata == Metadata():
                raise
            stream.seek(0)
            stream.truncate()
            _save(stream, form, animation, Metadata(), compression)
            lost = [f"all metadata ({error})"]
    except (OSError, ValueError, MemoryError, struct.error) as error:
        raise InputError(f"cannot write {path}: {error or 'too large for this format'}") from None
    return lost


def rounded(durations: Iterable[float], unit: int) -> list[float]:
    """Durations in ms as multiples of `unit` whose sums stay the nearest to the given ones; none above 0 gets 0."""
    if not unit:
        return list(durations)
    made, end = [], 0
    for duration, given_end in zip(durations, accumulate(durations), strict=True):
        made.append(max(unit * round(given_end / unit) - end, unit if duration else 0))
        end += made[-1]
    return made


def _save(stream: BinaryIO, form: Format, animation: Animation, metadata: Metadata, compression: int) -> None:
    plays = min(animation.plays, TIMES[form.name].plays)
    options: dict[str, Any] = {**form.options, **metadata.options(form.name), "loop": plays}
    if form.name == "PNG":
        options["compress_level"] = compression
    image_of = _palette_image if form.name == "GIF" else _image
    images = [image_of(frame) for frame in animation.frames]
    if form.name == "GIF":
        del options["loop"]
        if plays != 1:
            options["loop"] = max(plays - 1, 0)
        if animation.frames[0].pixel_format.has_alpha:
            options |= {"transparency": TRANSPARENT, "disposal": DISPOSE}
        options["optimize"] = False  # else Pillow writes what does not change as transparent, over what is disposed of
    durations = rounded(animation.durations, TIMES[form.name].unit)
    first, *others = images
    first.save(stream, form.name, save_all=True, append_images=others, duration=durations, **options)


def _image(frame: Picture) -> Image.Image:
    return Image.fromarray(frame.pixels[:, :, 0] if frame.channels == "L" else frame.pixels)


def _palette_image(frame: Picture) -> Image.Image:
    return palette_image(frame.pixels)


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
