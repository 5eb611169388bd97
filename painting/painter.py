"""One way from a picture to a picture: plan it, let an engine paint it, keep what the format holds."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

import numpy as np
from PIL import Image

from models.zoo import DEFAULT, DEFAULT_OF_CMSR
from painting.jobs import Job
from painting.lut_engine import LutEngine
from painting.plan import Painted, plan
from painting.request import Request
from pictures.picture import Animation, Picture
from pictures.writing import BandedPicture, write_picture
from utils import progress, system
from utils.geometry.sizes import stretch_notice
from utils.registry import FILTERS

if TYPE_CHECKING:
    from painting.torch_engine import TorchEngine

FEW_COLOURS = 64
LARGE_STEPS = 11.9  # the mean of the standard table of luminance at quality 90


class Painter:
    """Paints pictures as a request asks for, by the first engine that can: that of LUTs, or PyTorch's."""

    def __init__(self, request: Request, output: TextIO = sys.stdout):
        self.request, self._output = request, output
        self._luts = LutEngine.of(request)
        self.note = "" if self._luts else self._torch.note(8)  # how pictures of 8 bits are computed

    @cached_property
    def _torch(self) -> "TorchEngine":
        """The engine that does everything; importing PyTorch takes seconds, so only where it is needed."""
        with system.uncollected():
            system.settle_threads(self.request.threads)
            from painting.torch_engine import TorchEngine
        return TorchEngine.of(self.request, self._output)

    def read(self, job: Job) -> Picture | Animation | None:
        """As `Job.read`; where the output is cropped, of a large picture no more rows than that needs."""
        if self._luts or not self.request.crop:
            return job.read()
        return job.read(lambda size: self._torch.rows(self.request, size))

    def paint(self, job: Job, picture: Picture) -> Painted:
        """Upscale or warp a picture, and keep what the format of the job can hold; InputError where it cannot be
        written."""
        request, made = self.request, plan(self.request, job, picture)
        luts = self._luts if self._luts and self._luts.can(made) else None
        strips = None if luts else self._torch.strips(made)
        (height, width), (h, w) = made.window[2], picture.size
        started = time.perf_counter()
        with system.memory_errors(made.work):
            if strips is None:
                painted = (luts or self._torch).paint(made)
            else:
                banded = BandedPicture((height, width), made.pixel_format, strips, made.metadata, picture.span)
                with progress.stage("painting", height):
                    painted = Painted(None, lines=_lost(job, job.write(banded, request.compression)))
        seconds = time.perf_counter() - started
        lines = [f"{job.source}: {', '.join(made.losses)}"] if made.losses else []
        lines += painted.lines
        if request.size and not request.is_warp and (stretched := stretch_notice(picture.size, made.size)):
            lines.append(f"{job.source}: {stretched}")
        lines += hints(request, job, picture)
        note = "" if luts else self._torch.note(made.pixel_format.depth)
        lines.append(f"{job.source.name}: {w}x{h} -> {width}x{height} in {seconds:.2f} s{note}")
        return replace(painted, lines=lines)

    def write(self, job: Job, painted: Painted) -> str:
        """Write all that was made of a picture; lines that say what was done."""
        lost = [] if painted.picture is None else job.write(painted.picture, self.request.compression)
        for path, content in painted.beside.items():
            write_picture(path, content)
        *lines, done = painted.lines
        written = " and ".join(map(str, [job.target, *painted.beside]))
        return "\n".join([*lines, *_lost(job, lost), f"{done}, wrote {written}"])


class Frames:
    """Paints the frames of a job one after the other; one that equals its predecessor is `computed` once."""

    def __init__(self, painter: Painter, job: Job):
        self._painter, self._job, self.computed = painter, job, 0
        self._before: tuple[np.ndarray, Painted] | None = None

    def paint(self, frame: Picture) -> Painted:
        """As `Painter.paint`; counts as one step of the stage that is shown."""
        if self._before is None or not np.array_equal(self._before[0], frame.pixels):
            self._before = frame.pixels, self._painter.paint(self._job, frame)
            self.computed += 1
        progress.advance(1)
        return self._before[1]


def hints(request: Request, job: Job, picture: Picture) -> list[str]:
    """A line where another model suits a picture better: pixel art, and JPEG blocks, which networks enlarge."""
    if request.model in FILTERS or request.is_warp or request.crop or job.form.name == "film":
        return []
    pixels = picture.pixels if picture.pixels.shape[2] > 1 else picture.pixels[..., 0]
    if pixels.dtype == np.uint8 and Image.fromarray(pixels).getcolors(FEW_COLOURS):
        return [f"{job.source}: has few colours; --model nearest keeps pixel art and QR codes sharp"]
    if (
        request.model in (DEFAULT, DEFAULT_OF_CMSR)
        and job.source.suffix.lower() in (".jpg", ".jpeg")
        and _has_blocks(job)
    ):
        return [f"{job.source}: is strongly compressed; --model photo-s smooths its blocks"]
    return []


def _has_blocks(job: Job) -> bool:
    """Whether a JPEG's quality is below 90, by its first quantisation table."""
    try:
        with Image.open(job.source) as image:
            return np.mean(image.quantization[0]) > LARGE_STEPS
    except (OSError, AttributeError, KeyError):
        return False


def _lost(job: Job, lost: Sequence[str]) -> list[str]:
    """A line about metadata that could not be written."""
    return [f"{job.target}: written without {', '.join(lost)}"] if lost else []
