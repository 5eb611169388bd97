"""demo.py with LUTs of LeRF: painted by the C runtime, so that PyTorch is never imported; by PyTorch where the runtime
does not do what is asked for."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from painting.batches import Job
from painting.lerf_tables import load_tables
from painting.outputs import Order, Painted, PicturePainter, Window, needed_memory
from painting.warp_options import is_transparent_warp, is_warp
from pictures.colour import parse_colour
from pictures.picture import DTYPES, PEAKS, Picture, PixelFormat
from runtime.lerf.continua_lerf import LerfError, Tables
from utils import progress, system
from utils.geometry.matrices import read_matrix, rotation_matrix, window_matrix
from utils.geometry.sizes import Size
from utils.system import usable_memory

LARGEST_PIXEL = 1.001  # of a warp, in input pixels: where they are larger, models/safeguards.py reduces the picture
BAND_ROWS, BAND_PIXELS = 64, 1 << 23  # that are painted together at least
OTHERS = ("upsampler", "cmsr", "compare", "ensemble")  # options whose work is PyTorch's


def table_painter(arguments: Any, by_torch: Callable[[], PicturePainter]) -> "TablePainter | None":
    """A painter of the command line's model, where that is LUTs and the options leave the work to the runtime."""
    of_torch = any(getattr(arguments, name, None) for name in OTHERS) or not arguments.fast
    if (
        of_torch
        or arguments.backend == "torch"
        or arguments.precision == "bfloat16"
        or arguments.device not in ("auto", "cpu")
        or arguments.gpu is not None
    ):
        return None
    tables = load_tables(arguments.model)
    return tables and TablePainter(arguments, tables, by_torch)


class TablePainter(PicturePainter):
    """Paints what is enlarged, or warped without being reduced; `by_torch` makes the painter for everything else."""

    def __init__(self, arguments: Any, tables: Tables, by_torch: Callable[[], PicturePainter]):
        super().__init__(arguments)
        self.tables = tables
        self.threads = system.threads_without_torch(arguments.threads)
        self._make_other, self._other = by_torch, None
        self.matrix = None if arguments.homography is None else _matrix(arguments.homography)

    def paint(self, job: Job, picture: Picture) -> Painted:
        if self.is_covered(job, picture):
            try:
                return super().paint(job, picture)
            except LerfError:  # PyTorch's painter says what is wrong
                pass
        if self._other is None:
            self._other = self._make_other()
        return self._other.paint(job, picture)

    def is_covered(self, job: Job, picture: Picture) -> bool:
        """Whether the runtime gives exactly what PyTorch's painter gives: grey and colours of 8 or 16 bits, without
        transparency, larger along an axis and smaller along none, or under a homography that reduces nothing."""
        kind, _ = job.form.pixel_format_for(picture.pixel_format)
        size = self._size(picture.size)
        usable = usable_memory(self.arguments.memory)
        if usable is not None and needed_memory(picture.size, self._window(size)[2], kind) > usable:
            return False
        depths = {picture.pixel_format.depth, self.arguments.depth or kind.depth, kind.depth}
        if picture.pixel_format.colours not in ("L", "RGB") or not depths <= {8, 16}:
            return False
        if picture.pixel_format.has_alpha and picture.pixels[..., -1].min() < PEAKS[picture.pixel_format.depth]:
            return False
        if not is_warp(self.arguments):
            return size != picture.size and all(side >= n for side, n in zip(size, picture.size, strict=True))
        colour = self.arguments.background
        if colour not in (None, "transparent") and picture.pixel_format.colours == "L":
            return False  # the grey of a colour is rounded by PyTorch
        if self.arguments.homography is not None and self.matrix is None:
            return False
        try:
            return self.tables.largest_pixel(self._homography(picture.size, size), picture.size) <= LARGEST_PIXEL
        except LerfError:
            return False

    def _painted(self, order: Order) -> tuple[np.ndarray, PixelFormat, float]:
        started = time.perf_counter()
        picture, kind, size, window = order.picture, order.kind, order.size, order.window
        pixels, dtype = picture.pixels[..., : len(picture.pixel_format.colours)], DTYPES[kind.depth]
        if not is_warp(self.arguments):
            colour = self._upscaled(pixels, size, window, dtype)
            return _with_channels(colour, kind, None), kind, time.perf_counter() - started
        top, left, part = window
        matrix = window_matrix(self._homography(picture.size, size), top, left)
        colour, inside = self.tables.warp(pixels, matrix, part, dtype, self.threads)
        seconds = time.perf_counter() - started
        if self.arguments.mask:
            order.beside[Path(self.arguments.mask)] = np.where(inside, 255, 0).astype(np.uint8)
        alpha = None
        if not inside.all():
            order.lines.append(f"{inside.mean(dtype=np.float32):.1%} of the output lies inside the picture")
            if is_transparent_warp(self.arguments):
                alpha = inside
                if not kind.has_alpha:
                    kind, _ = order.job.form.pixel_format_for(PixelFormat(f"{kind.colours}A", kind.depth))
            else:
                background = np.array(parse_colour(self.arguments.background))
                colour[~inside] = background * (PEAKS[kind.depth] // 255)
        return _with_channels(colour, kind, alpha), kind, seconds

    def _upscaled(self, pixels: np.ndarray, size: Size, window: Window, dtype: Any) -> np.ndarray:
        """The `window` of a picture (h, w, C) at `size`, some rows after the other."""
        top, left, (height, width) = window
        output = np.empty((height, width, pixels.shape[2]), dtype)
        step = max(BAND_ROWS, BAND_PIXELS // width)
        with progress.stage("painting", height):
            for row in range(0, height, step):
                count = min(step, height - row)
                part = (top + row, left, (count, width))
                output[row : row + count] = self.tables.upscale(pixels, size, part, dtype, self.threads)
                progress.advance(count)
        return output

    def _homography(self, input_size: Size, size: Size) -> np.ndarray:
        """(3, 3) from a picture to its whole output."""
        if self.matrix is not None:
            return self.matrix
        return rotation_matrix(self.arguments.rotate, input_size, size, self.arguments.scale or (1, 1))


def _matrix(source: str) -> np.ndarray | None:
    """The matrix of `--homography`; None for one that PyTorch's painter has to refuse, or a file of PyTorch."""
    try:
        return None if Path(source).suffix in (".pth", ".pt") else read_matrix(source)
    except ValueError:
        return None


def _with_channels(colour: np.ndarray, kind: PixelFormat, alpha: np.ndarray | None) -> np.ndarray:
    """`colour` (H, W, 1 or 3) with the channels of a kind; opaque where there is no `alpha` (H, W) bool."""
    if len(kind.colours) > colour.shape[2]:
        colour = np.repeat(colour, len(kind.colours), axis=2)
    if not kind.has_alpha:
        return colour
    peak = colour.dtype.type(PEAKS[kind.depth])
    opaque = np.full(colour.shape[:2], peak) if alpha is None else np.where(alpha, peak, colour.dtype.type(0))
    return np.concatenate([colour, opaque[..., None]], axis=2)
