"""One way from a picture to a picture: plan it, let an engine paint it, keep what the format holds."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image

from painting.engines import Engine, LutEngine
from painting.jobs import Job
from painting.plan import Plan, full_size, plan, window_of
from painting.request import Request
from pictures.picture import Animation, Picture
from pictures.writing import BandedPicture, write_picture
from utils import progress, system
from utils.geometry.sizes import Size, stretch_notice
from utils.names import FILTERS
from utils.system import check_memory, memory_errors, usable_memory

FEW_COLOURS = 64
LARGE_STEPS = 11.9  # the mean of the standard table of luminance at quality 90


@dataclass(frozen=True)
class Painted:
    """What is made of one picture: itself, unless it is written already, other pictures by the file that they are for,
    the `compression` of PNG, and lines to say."""

    picture: Picture | Animation | None
    beside: dict[Path, np.ndarray]
    lines: Sequence[str]
    compression: int | None = None


class Painter:
    """Paints pictures as a request asks for, by the first engine that can."""

    def __init__(self, request: Request, output: TextIO = sys.stdout):
        self.request, self._output = request, output
        self._luts = LutEngine.of(request)
        self._torch: Engine | None = None if self._luts else load_torch_engine(request, output)

    @property
    def note(self) -> str:
        """What is said of how pictures of 8 bits are computed, behind the time."""
        return (self._torch or self._luts).note(8)

    def paint(self, job: Job, picture: Picture) -> Painted:
        """Upscale or warp a picture, and keep what the format of the job can hold; InputError where it cannot be
        written."""
        request, given = self.request, picture.size
        made = plan(request, job, picture)
        engine = self._engine(made)
        lines = [f"{job.source}: {', '.join(made.losses)}"] if made.losses else []
        needed, usable = made.needed(engine.encoded_size(made)), usable_memory(request.memory)
        in_strips = usable is not None and needed > usable and engine.can_strip(made)
        if not in_strips:
            check_memory(needed, made.work, request.memory)
        started = time.perf_counter()
        with memory_errors(made.work):
            if in_strips:
                painted, beside = None, {}
                lines += self._write_in_strips(engine, made, usable)
            else:
                drawn = engine.paint(made)
                beside, lines = drawn.beside, [*lines, *drawn.lines]
                painted = Picture(drawn.pixels, drawn.pixel_format.channels, made.metadata, picture.span)
        seconds = time.perf_counter() - started
        if request.size and not request.is_warp and (stretched := stretch_notice(given, made.size)):
            lines.append(f"{job.source}: {stretched}")
        lines += hints(request, job, picture)
        height, width = made.window[2]
        note = engine.note(made.pixel_format.depth)
        done = f"{job.source.name}: {given[1]}x{given[0]} -> {width}x{height} in {seconds:.2f} s{note}"
        return Painted(painted, beside, [*lines, done], request.compression)

    @staticmethod
    def write(job: Job, painted: Painted) -> str:
        """Write all that was made of a picture; lines that say what was done."""
        lost = [] if painted.picture is None else job.write(painted.picture, painted.compression)
        for path, content in painted.beside.items():
            write_picture(path, content)
        *lines, done = painted.lines
        lines += _lines_of_lost(job, lost)
        return "\n".join([*lines, f"{done}, wrote {' and '.join(map(str, [job.target, *painted.beside]))}"])

    def output_size(self, picture: Picture) -> Size:
        """(H, W) of what is written of a picture."""
        return window_of(self.request, full_size(self.request, picture.size))[2]

    def _engine(self, made: Plan) -> Engine:
        if self._luts and self._luts.can(made):
            return self._luts
        if self._torch is None:
            self._torch = load_torch_engine(self.request, self._output)
        self._torch.can(made)
        return self._torch

    def _write_in_strips(self, engine: Engine, made: Plan, memory: int) -> list[str]:
        """Paint and write the window; lines to say."""
        size, strips = made.window[2], engine.strips(made, memory)
        banded = BandedPicture(size, made.pixel_format, strips, made.metadata, made.picture.span)
        with progress.stage("painting", size[0]):
            return _lines_of_lost(made.job, made.job.write(banded, self.request.compression))


def hints(request: Request, job: Job, picture: Picture) -> list[str]:
    """A line where another model suits a picture better: pixel art, and JPEG blocks, which networks enlarge."""
    if request.model in FILTERS or request.is_warp or job.form.name == "film":
        return []
    step = 1 + math.isqrt(picture.pixels.size >> 16)
    if max(colours_in(picture.pixels[::step, ::step]), colours_in(picture.pixels[::step])) < FEW_COLOURS:
        return [f"{job.source}: has few colours; --model nearest keeps pixel art and QR codes sharp"]
    if request.model == Request.model and job.source.suffix.lower() in (".jpg", ".jpeg") and _has_blocks(job.source):
        return [f"{job.source}: is strongly compressed; --model photo-s smooths its blocks"]
    return []


def colours_in(pixels: np.ndarray) -> int:
    """How many different values the pixels (h, w, C) have."""
    packed = np.zeros(pixels.shape[:2], np.uint64)
    for channel in range(pixels.shape[2]) if pixels.dtype.kind == "u" else ():
        packed = packed << np.uint64(16) | pixels[:, :, channel]
    return len(np.unique(packed)) if pixels.dtype.kind == "u" else FEW_COLOURS


def _has_blocks(path: Path) -> bool:
    """Whether a JPEG's quality is below 90, by its first quantisation table."""
    try:
        with Image.open(path) as image:
            return np.mean(image.quantization[0]) > LARGE_STEPS
    except (OSError, AttributeError, KeyError):
        return False


def load_torch_engine(request: Request, output: TextIO = sys.stdout) -> Engine:
    """The engine that does everything; importing PyTorch takes seconds, so only where it is needed."""
    with system.uncollected():
        system.settle_threads(request.threads)
        from painting.torch_engine import TorchEngine
    return TorchEngine.of(request, output)


def _lines_of_lost(job: Job, lost: Sequence[str]) -> list[str]:
    """What to say of the metadata that could not be written."""
    return [f"{job.target}: written without {', '.join(lost)}"] if lost else []
