"""Frames of films, one at a time, as pictures."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pictures.picture import Picture
from utils.errors import InputError
from utils.files import UNWRITABLE

HIGH = 720  # rows from which a film that does not say its colours is taken for BT.709, as players do
BT709, BT601, UNSPECIFIED = 1, 6, 2  # of FFmpeg's matrices, primaries and transfer functions
LIMITED, FULL = 1, 2  # of FFmpeg's ranges
ARRAYS = {("L", 8): "gray", ("L", 16): "gray16le", ("RGB", 8): "rgb24", ("RGB", 16): "rgb48le", ("RGBA", 8): "rgba",
          ("RGBA", 16): "rgba64le"}  # fmt: skip
RGB_FORMATS = ("gbr", "rgb", "bgr", "argb", "abgr", "0rgb", "0bgr", "pal")
FULL_RANGE_FORMATS = ("yuvj", "gray", *RGB_FORMATS)


@dataclass(frozen=True)
class Colours:
    """Matrix, range, primaries and transfer function, by FFmpeg's numbers."""

    matrix: int
    span: int
    primaries: int
    transfer: int


@dataclass(frozen=True)
class Description:
    """What the frames of a film have in common: their pixel `format`, `depth` and `channels`, `colours`, the unit of
    their times, the mean `rate` and the shape of a pixel."""

    pixel_format: str
    channels: str
    depth: int
    colours: Colours
    time_base: Fraction
    rate: Fraction
    pixel_shape: Fraction | None
    count: int | None


@dataclass(frozen=True)
class Frame:
    """A picture, upright, its time and how long it is shown (0 where that is unknown), in units of `time_base`."""

    picture: Picture
    time: int
    duration: int


def import_av() -> Any:
    """PyAV; InputError where it is not installed.

    Its log stays off: decoder threads that log wait for Python, which waits for them when a film is closed.
    """
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder prints errors alone
    try:
        import av
    except ImportError:
        raise InputError("films need one more package: pip install av") from None
    return av


def smooth() -> Any:
    """How chroma is made larger and smaller."""
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A film's container; InputError for a file that is none, or that is damaged.

    What is written in the block and meets a full disk is an OSError.
    """
    av = import_av()
    try:
        with av.open(str(path)) as container:
            yield container
    except (av.FFmpegError, UnicodeError) as error:
        if getattr(error, "errno", None) in UNWRITABLE:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as a film ({reason}); the file is none, broken or cut short") from None


def picture_stream(container: Any, path: Path) -> Any:
    """The stream of moving pictures; covers are none."""
    av = import_av()
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            stream.thread_type = "AUTO"
            return stream
    raise InputError(f"{path} has no moving pictures; it may be sound alone")


def describe(path: Path) -> Description:
    """Read off the first frame; InputError as `opened`, and for a film without frames."""
    with opened(path) as container:
        stream = picture_stream(container, path)
        frame = next(container.decode(stream), None)
        if frame is None:
            raise InputError(f"{path} has no frames; the file is broken or cut short")
        form = frame.format
        deep = max(component.bits for component in form.components) > 8
        channels = "L" if form.name.startswith("gray") else "RGB"
        if form.name.startswith(("yuva", "gbrap", "rgba", "bgra", "argb", "abgr", "ya", "pal")):
            channels = "RGBA"
        return Description(
            form.name.replace("yuvj", "yuv"),
            channels,
            16 if deep else 8,
            _colours(frame),
            stream.time_base,
            stream.average_rate or stream.guessed_rate or Fraction(25),
            stream.sample_aspect_ratio,
            stream.frames or None,
        )


def read_frames(path: Path, description: Description, first: int, last: int | None) -> Iterator[Frame]:
    """Frames from number `first` to before `last`; those before are decoded, too, and dropped.

    InputError as `opened`, and where frames change their size.
    """
    layout = ARRAYS[description.channels, description.depth]
    colours, size, previous = description.colours, None, None
    with opened(path) as container:
        stream = picture_stream(container, path)
        for number, frame in enumerate(container.decode(stream)):
            if last is not None and number >= last:
                return
            time = frame.pts if frame.pts is not None else number * _step(description)
            if previous is not None and time <= previous:
                time = previous + 1
            previous = time
            if size not in (None, (frame.width, frame.height)):
                raise InputError(f"{path}: frames change their size at number {number}; cut the film there")
            size = frame.width, frame.height
            if number < first:
                continue
            frame.color_range = colours.span
            if not frame.format.name.startswith(RGB_FORMATS):
                frame.colorspace = colours.matrix
            array = frame.to_ndarray(format=layout, dst_color_range=FULL, interpolation=smooth())
            turns = round((frame.rotation or 0) / 90) % 4
            pixels = np.ascontiguousarray(np.rot90(array.reshape(*array.shape[:2], -1), turns))
            yield Frame(Picture(pixels, description.channels), time, frame.duration or 0)


def _step(description: Description) -> int:
    return max(1, round(1 / description.rate / description.time_base))


def _colours(frame: Any) -> Colours:
    """What a frame says of its colours, made explicit: an enlarged film that says nothing would be taken for another
    standard, as players judge by the height."""
    standard = BT709 if frame.height >= HIGH else BT601
    matrix = int(frame.colorspace)
    span = int(frame.color_range)
    if span not in (LIMITED, FULL):
        span = FULL if frame.format.name.startswith(FULL_RANGE_FORMATS) else LIMITED
    primaries, transfer = UNSPECIFIED, UNSPECIFIED
    with suppress(AttributeError, ValueError):
        primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    return Colours(standard if matrix == UNSPECIFIED else matrix, span, primaries, transfer)
