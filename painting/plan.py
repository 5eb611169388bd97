"""Plan one picture of a Request: sizes, pixel format, metadata, losses, memory. Without PyTorch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from painting.jobs import Job
from painting.request import Request
from pictures.colour import in_rgb, palette_losses, parse_colour
from pictures.formats import kept_metadata
from pictures.metadata import Metadata
from pictures.picture import Animation, Picture, PixelFormat
from utils.errors import InputError
from utils.geometry import sizes
from utils.geometry.sizes import Size, check_output_size, check_window

FLOAT, PILLOW_PIXEL = 4, 4  # bytes
Window = tuple[int, int, Size]  # top, left, size


@dataclass(frozen=True)
class Painted:
    """The result of one picture, None where it is written already; pictures (H, W) or (H, W, 3) uint8 to write beside
    it, by their files; lines to say."""

    picture: Picture | Animation | None
    beside: dict[Path, np.ndarray] = field(default_factory=dict)
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Plan:
    """The `window` of a `picture` at `size`, to be painted for a job and written as `pixel_format` with `metadata`.

    `losses`: what the output cannot hold, in words.
    """

    request: Request
    job: Job
    picture: Picture
    size: Size
    window: Window
    pixel_format: PixelFormat
    metadata: Metadata
    losses: Sequence[str] = ()

    @property
    def work(self) -> str:
        """The output, for messages."""
        height, width = self.window[2]
        return f"{self.job.source}: an output of {width}x{height}"

    @property
    def background(self) -> tuple[int, int, int]:
        """The colour (red, green, blue) below what is transparent or empty, where the output holds no alpha."""
        return parse_colour(self.request.background or "white") or (255, 255, 255)

    def painted(self, pixels: np.ndarray, pixel_format: PixelFormat, **others: Any) -> Painted:
        """The result of an engine: pixels (H, W, C) of the window in a format; `others` as in `Painted`."""
        return Painted(Picture(pixels, pixel_format.channels, self.metadata, self.picture.span), **others)

    def needed(self, encoded: Size, pixel_bytes: int) -> int:
        """Bytes that it takes, about, when `encoded` pixels of the picture are encoded, each in so many."""
        held = math.prod(encoded if self.request.crop else self.picture.size) * FLOAT * len(self.pixel_format.channels)
        size = self.size if self.request.cmsr else self.window[2]
        return held + math.prod(encoded) * pixel_bytes + needed_memory(size, self.pixel_format)


def plan(request: Request, job: Job, picture: Picture) -> Plan:
    """The plan for a picture; InputError where it cannot be written, or loses something and may not (`strict`)."""
    size = full_size(request, picture.size)
    window = window_of(request, size)
    pixel_format, losses = _format(request, job, picture)
    metadata, lost = kept_metadata(picture, job.form, pixel_format)
    if request.strip_metadata:
        metadata, lost = Metadata(dpi=picture.metadata.dpi if job.form.name == "film" else None), []
    losses = [*picture.losses, *losses, *(f"without {name}" for name in lost)]
    if losses and request.strict:
        raise InputError(f"{job.source}: {', '.join(losses)}; remove --strict or choose another format")
    for x, y, width, height in request.compare_at or ():
        if x + width > size[1] or y + height > size[0]:
            raise InputError(f"--compare-at {x},{y},{width},{height} is not within the output, {size[1]}x{size[0]}")
    job.form.check_size(job.target, window[2], pixel_format)
    scale = tuple(side / n for side, n in zip(size, picture.size, strict=True))
    turned = request.rotate is not None and request.rotate % 180 == 90
    metadata = metadata.of_size(window[2], (request.scale or (1.0, 1.0)) if request.is_warp else scale, turned)
    if picture.channels == "CMYK" and pixel_format.colours == "RGB":
        picture = in_rgb(picture)
    return Plan(request, job, picture, size, window, pixel_format, metadata, losses)


def _format(request: Request, job: Job, picture: Picture) -> tuple[PixelFormat, list[str]]:
    """The pixel format to write, and what is lost by it, in words."""
    wanted = replace(picture.pixel_format, depth=request.depth or picture.pixel_format.depth)
    pixel_format, losses = job.form.pixel_format_for(wanted)
    if request.is_transparent_warp and not pixel_format.has_alpha:
        if pixel_format.channels == "CMYK":
            raise InputError(f"{job.source}: CMYK has no transparency; give --background white, or write a .png")
        losses += job.form.pixel_format_for(PixelFormat(f"{pixel_format.colours}A", pixel_format.depth))[1]
    if picture.span != (0, 1) and pixel_format.depth < 32:
        low, high = picture.span
        raise InputError(f"{job.source} holds floats from {low:g} to {high:g}; write a .tif, or scale them to 0..1")
    return pixel_format, losses + (palette_losses(picture) if job.form.name == "GIF" else [])


def full_size(request: Request, size: Size) -> Size:
    """(H, W) of the whole output of an (h, w) picture; more than asked for with `fill`, where some is cut off."""
    if request.size:
        return check_output_size(sizes.size_of_sides(size, request.size))
    if request.homography is not None:
        return size
    if request.rotate is not None:
        return sizes.rotated_size(size, request.rotate, request.scale or (1, 1))
    if request.fit:
        return sizes.size_within(size, request.fit)
    if request.fill:
        return sizes.size_around(size, request.fill)
    if request.megapixels:
        return sizes.size_of_area(size, request.megapixels)
    if request.long_side:
        return sizes.size_within(size, (request.long_side, request.long_side))
    return sizes.output_size(size, request.scale)


def window_of(request: Request, size: Size) -> Window:
    """The part of an output of `size` that is written, for `fill` and `crop`."""
    if request.fill:
        top, left = ((n - side) // 2 for n, side in zip(size, request.fill, strict=True))
        return top, left, request.fill
    if request.crop:
        left, top, width, height = request.crop
        check_window(size, top, left, (height, width))
        return top, left, (height, width)
    return 0, 0, size


def needed_memory(size: Size, pixel_format: PixelFormat) -> int:
    """Bytes that drawing and writing an output of `size` takes, about."""
    drawn = 3 * FLOAT * (2 if pixel_format.has_alpha or pixel_format.channels == "CMYK" else 1)
    written = len(pixel_format.channels) * pixel_format.depth // 8 * 2 + PILLOW_PIXEL
    return size[0] * size[1] * (drawn + written)
