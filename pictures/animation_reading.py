"""Reading animated GIF, PNG and WebP: every frame as it is shown, disposal and blending resolved."""

from pathlib import Path

import numpy as np
from PIL import Image

from pictures import deep
from pictures.picture import PEAKS, Animation, Picture, levels
from pictures.reading import STREAM, described, has_more_frames, opened, reading_errors
from utils.system import check_memory

ANIMATED = ("GIF", "PNG", "WEBP")  # formats whose further frames are no pages, layers or sizes
RGBA = 4
COPIES = 3  # of all frames, while they are read


def read_animation(source: str | Path | bytes) -> Animation | None:
    """The animation in a file, or in a file's content; None for anything else, also for what is no picture at all.

    Frames are upright, of one kind: grey where all of them are, with alpha where one is transparent somewhere.
    InputError as `read_picture`, for any broken frame, and when all frames take more memory than there is.
    """
    if not isinstance(source, bytes) and not Path(source).is_file():
        return None
    name = STREAM if isinstance(source, bytes) else str(source)
    if not _is_animation(source, name):
        return None
    with reading_errors(name):
        with opened(source) as file:
            if file.format == "PNG":
                file.verify()
        with opened(source) as file:
            count = file.n_frames
            check_memory(count * file.width * file.height * RGBA * COPIES, f"{name}: reading {count} frames")
            losses = ("16 bits reduced to 8",) if deep.is_reduced(file) or file.mode.startswith("I") else ()
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


def _is_animation(source: str | Path | bytes, name: str) -> bool:
    try:
        with reading_errors(name), opened(source) as file:
            if file.format not in ANIMATED:
                return False
            if file.format == "PNG" and not file.is_animated:  # said before the pixels, which need not be decoded
                return False
            file.load()
            return has_more_frames(file)
    except Exception:  # whatever is wrong with the first frame is said by who reads it as a picture
        return False


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
