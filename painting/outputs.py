"""What all ways to paint share, with the options of demo.py: sizes, kinds, what is kept and lost. Without PyTorch."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from painting.batches import Job
from painting.options import upright_size
from painting.warp_options import is_transparent_warp, is_warp
from pictures.colour import in_rgb, palette_losses
from pictures.formats import kept_metadata
from pictures.metadata import Metadata
from pictures.picture import Animation, Picture, PixelFormat
from pictures.writing import write_picture
from utils.errors import InputError
from utils.geometry.sizes import Size, check_output_size, check_window, rotated_size, stretch_notice
from utils.system import check_memory, memory_errors

FLOAT, PILLOW_PIXEL, INPUT_PIXEL = 4, 4, 1000  # bytes
Window = tuple[int, int, Size]  # top, left, size


@dataclass(frozen=True)
class Painted:
    """What is made of one picture: itself, unless it is written already, other pictures by the file that they are for,
    the `compression` of PNG, and lines to say."""

    picture: Picture | Animation | None
    beside: dict[Path, np.ndarray]
    lines: Sequence[str]
    compression: int | None = None


@dataclass(frozen=True)
class Order:
    """The `window` of a `picture` at `size`, to be painted for a job as `kind`; pictures made `beside` it and `lines`
    to say are added to."""

    job: Job
    picture: Picture
    kind: PixelFormat
    size: Size
    window: Window
    beside: dict[Path, np.ndarray] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def lines_of_lost(job: Job, lost: Sequence[str]) -> list[str]:
    """What to say of the metadata that could not be written."""
    return [f"{job.target}: written without {', '.join(lost)}"] if lost else []


class PicturePainter(ABC):
    """From pictures of any kind to pictures of that kind: a subclass computes the pixels."""

    note = ""
    """What is said of how pictures are computed, behind the time."""

    def __init__(self, arguments: Any):
        self.arguments = arguments

    @abstractmethod
    def _painted(self, order: Order) -> tuple[np.ndarray, PixelFormat, float]:
        """The pixels, the kind that they have, which is another than asked for where a warp leaves transparency, and
        the seconds that painting took."""

    def paint(self, job: Job, picture: Picture) -> Painted:
        """Upscale or warp a picture, and keep what the format of the job can hold; InputError where it cannot be
        written."""
        arguments, given_size = self.arguments, picture.size
        size = self._size(given_size)
        window = self._window(size)
        work = f"{job.source}: an output of {window[2][1]}x{window[2][0]}"
        kind, metadata, losses = self._kept(job, picture)
        for x, y, width, height in arguments.compare_at or ():
            if x + width > size[1] or y + height > size[0]:
                raise InputError(f"--compare-at {x},{y},{width},{height} is not within the output, {size[1]}x{size[0]}")
        job.form.check_size(job.target, window[2], kind)
        encoded = self._encoded_size(given_size, size, window)
        held = math.prod(given_size) * FLOAT * len(kind.channels)
        needed = held + needed_memory(encoded, size if arguments.cmsr else window[2], kind)
        order = Order(job, picture, kind, size, window, lines=[f"{job.source}: {', '.join(losses)}"] if losses else [])
        in_strips = self._is_for_strips(order, needed)
        if not in_strips:
            check_memory(needed, work, arguments.memory)
        if picture.channels == "CMYK" and kind.colours == "RGB":
            order = replace(order, picture=in_rgb(picture))
        lines = order.lines
        with memory_errors(work):
            if in_strips:
                painted, started = None, time.perf_counter()
                lines += self._write_in_strips(order, metadata)
                seconds = time.perf_counter() - started
            else:
                pixels, kind, seconds = self._painted(order)
                painted = Picture(pixels, kind.channels, metadata, picture.span)
        if arguments.size and not is_warp(arguments) and (stretched := stretch_notice(given_size, size)):
            lines.append(f"{job.source}: {stretched}")
        height, width = window[2]
        done = f"{job.source.name}: {given_size[1]}x{given_size[0]} -> {width}x{height} in {seconds:.2f} s{self.note}"
        return Painted(painted, order.beside, [*lines, done], arguments.compression)

    def _encoded_size(self, input_size: Size, size: Size, window: Window) -> Size:
        """(h, w) of what is encoded of a picture to paint the `window` of it at `size`."""
        return input_size

    def _is_for_strips(self, order: Order, needed: int) -> bool:
        """Whether to paint in strips and to write each at once: where the whole needs more memory than there is, and
        the options, the format and the model allow it."""
        return False

    def _write_in_strips(self, order: Order, metadata: Metadata) -> list[str]:
        """Paint and write the window; lines to say."""
        raise NotImplementedError

    @staticmethod
    def write(job: Job, painted: Painted) -> str:
        """Write all that was made of a picture; lines that say what was done."""
        lost = [] if painted.picture is None else job.write(painted.picture, painted.compression)
        for path, content in painted.beside.items():
            write_picture(path, content)
        *lines, done = painted.lines
        lines += lines_of_lost(job, lost)
        return "\n".join([*lines, f"{done}, wrote {' and '.join(map(str, [job.target, *painted.beside]))}"])

    def output_size(self, picture: Picture) -> Size:
        """(H, W) of what is written of a picture."""
        return self._window(self._size(picture.size))[2]

    def _size(self, size: Size) -> Size:
        """(H, W) that the options ask for."""
        if not is_warp(self.arguments):
            return upright_size(size, self.arguments)
        if self.arguments.size:
            return check_output_size(self.arguments.size)
        if self.arguments.homography is not None:
            return size
        return rotated_size(size, self.arguments.rotate, self.arguments.scale or (1, 1))

    def _kept(self, job: Job, picture: Picture) -> tuple[PixelFormat, Metadata, list[str]]:
        """The kind that the picture is written as, its metadata then, and what of it is lost, in words."""
        arguments = self.arguments
        wanted = replace(picture.pixel_format, depth=arguments.depth or picture.pixel_format.depth)
        kind, losses = job.form.pixel_format_for(wanted)
        if is_transparent_warp(arguments) and not kind.has_alpha:
            if kind.channels == "CMYK":
                raise InputError(f"{job.source}: CMYK has no transparency; give --background white, or write a .png")
            losses += job.form.pixel_format_for(PixelFormat(f"{kind.colours}A", kind.depth))[1]
        if picture.span != (0, 1) and kind.depth < 32:
            low, high = picture.span
            raise InputError(f"{job.source} holds floats from {low:g} to {high:g}; write a .tif, or scale them to 0..1")
        if job.form.name == "GIF":
            losses += palette_losses(picture)
        metadata, lost = kept_metadata(picture, job.form, kind)
        if arguments.strip_metadata:
            metadata, lost = Metadata(dpi=picture.metadata.dpi if job.form.name == "film" else None), []
        losses = [*picture.losses, *losses, *(f"without {name}" for name in lost)]
        if losses and arguments.strict:
            raise InputError(f"{job.source}: {', '.join(losses)}; remove --strict or choose another format")
        size = self._size(picture.size)
        scale = tuple(side / n for side, n in zip(size, picture.size, strict=True))
        if is_warp(arguments):
            scale = arguments.scale or (1.0, 1.0)
        turned = arguments.rotate is not None and arguments.rotate % 180 == 90
        return kind, metadata.of_size(self._window(size)[2], scale, turned), losses

    def _window(self, size: Size) -> tuple[int, int, Size]:
        """The part of an output of `size` that is written, for `--fill` and `--crop`: top, left, its size."""
        if self.arguments.fill:
            top, left = ((n - side) // 2 for n, side in zip(size, self.arguments.fill, strict=True))
            return top, left, self.arguments.fill
        if self.arguments.crop:
            left, top, width, height = self.arguments.crop
            check_window(size, top, left, (height, width))
            return top, left, (height, width)
        return 0, 0, size


def needed_memory(input_size: Size, size: Size, kind: PixelFormat) -> int:
    """Bytes that painting a picture of `input_size` at `size` takes, and writing it as `kind`, about.

    Networks differ in what they hold of an input pixel; what counts where memory ends is the output.
    """
    drawn = 3 * FLOAT * (2 if kind.has_alpha or kind.channels == "CMYK" else 1)
    written = len(kind.channels) * kind.depth // 8 * 2 + PILLOW_PIXEL
    return size[0] * size[1] * (drawn + written) + input_size[0] * input_size[1] * INPUT_PIXEL
