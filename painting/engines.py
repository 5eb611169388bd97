"""What computes pixels: engines, of which the first that can do a plan does it.

The C library of LeRF's LUTs (runtime/lerf) paints without PyTorch; `painting.torch_engine` does everything.
"""

import ctypes
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.checkpoints.safetensors_files import is_safetensors, load_safetensors
from models.native import compiling
from models.zoo import ModelFile, resolve
from painting import plan as plans
from painting.edges import coverage, spread
from painting.plan import Drawn, Plan, Window, note_coverage
from painting.request import Request
from pictures.picture import DTYPES, PEAKS, PixelFormat
from runtime.lerf.continua_lerf import LerfError, Tables, library_path
from runtime.lerf.sources import FLAGS, SOURCES, sources_key
from utils import progress, system
from utils.errors import InputError
from utils.geometry.matrices import window_matrix
from utils.geometry.sizes import Size, is_enlarged
from utils.system import usable_memory

NAME = "lerf-lut"
ARGUMENTS = ("kernel", "modes", "support", "antialias")
REFUSALS = (
    InputError, compiling.BuildError, LerfError, OSError, LookupError, TypeError, ValueError, AttributeError,
    RecursionError, ctypes.ArgumentError,
)  # fmt: skip
LARGEST_PIXEL = 1.001  # of a warp, in input pixels: where they are larger, models/safeguards.py reduces the picture
BAND_ROWS, BAND_PIXELS = 64, 1 << 23  # that are painted together at least


class Engine(Protocol):
    """Paints plans."""

    def note(self, depth: int) -> str:
        """What is said of how pictures of so many bits a channel are computed, behind the time."""

    def can(self, plan: Plan) -> bool:
        """Whether the engine does all that is asked for."""

    def can_strip(self, plan: Plan) -> bool:
        """Whether the window may be painted in strips, each written at once, where memory is short."""

    def strips(self, plan: Plan, memory: int) -> Iterator[np.ndarray]:
        """The window in strips of rows (.., W, C) that need so many bytes."""

    def encoded_size(self, plan: Plan) -> Size:
        """(h, w) of what is encoded of the picture."""

    def paint(self, plan: Plan) -> Drawn:
        """The pixels of the plan's window."""


class LutEngine:
    """Paints what LUTs enlarge, or warp without reducing it."""

    OPTIONS = frozenset(
        {"model", "backend", "precision", "device", "threads", "rotate", "homography", "background", "mask"}
    )

    def __init__(self, tables: Tables, threads: int):
        self.tables, self.threads = tables, threads

    def note(self, depth: int) -> str:
        return ""

    @classmethod
    def of(cls, request: Request) -> "LutEngine | None":
        """The engine for a request's model; None where that is no LUTs or PyTorch has to compute."""
        if not request.given <= plans.OPTIONS | cls.OPTIONS:
            return None
        if (
            request.backend in ("torch", "triton")
            or request.precision == "bfloat16"
            or request.device not in ("auto", "cpu")
        ):
            return None
        tables = load_tables(request.model)
        return tables and cls(tables, system.threads_without_torch(request.threads))

    def can(self, plan: Plan) -> bool:
        """Whether the library gives exactly what PyTorch gives: grey and colours of 8 or 16 bits, without transparency,
        larger along an axis and smaller along none, or under a homography that reduces nothing; in one piece."""
        request, picture, made = plan.request, plan.picture, plan.pixel_format
        given = picture.pixel_format
        usable = usable_memory(request.memory)
        if usable is not None and plan.needed(picture.size) > usable:
            return False
        if given.colours not in ("L", "RGB") or not {given.depth, request.depth or made.depth, made.depth} <= {8, 16}:
            return False
        if given.has_alpha and picture.pixels[..., -1].min() < PEAKS[given.depth]:
            return False
        if not request.is_warp:
            return is_enlarged(picture.size, plan.size)
        if not request.is_transparent_warp and given.colours == "L":
            return False  # the grey of a colour is rounded by PyTorch
        try:
            return self.tables.largest_pixel(plan.matrix, picture.size) <= LARGEST_PIXEL
        except LerfError:
            return False

    def can_strip(self, plan: Plan) -> bool:
        return False

    def encoded_size(self, plan: Plan) -> Size:
        return plan.picture.size

    def paint(self, plan: Plan) -> Drawn:
        try:
            return self._painted(plan)
        except LerfError as error:
            raise InputError(f"{plan.job.source}: {error}") from None

    def _painted(self, plan: Plan) -> Drawn:
        picture, made, (top, left, part) = plan.picture, plan.pixel_format, plan.window
        pixels, dtype = picture.pixels[..., : len(picture.pixel_format.colours)], DTYPES[made.depth]
        if not plan.request.is_warp:
            return Drawn(_with_channels(self._upscaled(pixels, plan.size, plan.window, dtype), made, None), made)
        matrix, grown = window_matrix(plan.matrix, top - 1, left - 1), (part[0] + 2, part[1] + 2)
        colour, inside = self.tables.warp(pixels, matrix, grown, dtype, self.threads)
        covered = coverage(matrix, picture.size, grown)
        spread(colour, inside, covered)
        colour, covered = colour[1:-1, 1:-1], covered[1:-1, 1:-1]
        beside, lines, alpha = {}, [], None
        note_coverage(plan, covered, beside, lines)
        if covered.min() < 1:
            if plan.request.is_transparent_warp:
                alpha, made = covered, plan.transparent_format
            else:
                row, column = np.nonzero(covered < 1)
                share, below = covered[row, column, None], np.array(plan.background) * (PEAKS[made.depth] // 255)
                colour[row, column] = np.rint(below + (colour[row, column] - below) * share)
        return Drawn(_with_channels(colour, made, alpha), made, beside, lines)

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


def _with_channels(colour: np.ndarray, made: PixelFormat, alpha: np.ndarray | None) -> np.ndarray:
    """`colour` (H, W, 1 or 3) with the channels of a format; opaque where there is no `alpha` (H, W), from 0 to 1."""
    if len(made.colours) > colour.shape[2]:
        colour = np.repeat(colour, len(made.colours), axis=2)
    if not made.has_alpha:
        return colour
    opacity = np.ones(colour.shape[:2], np.float32) if alpha is None else alpha
    levels = np.rint(opacity * np.float32(PEAKS[made.depth])).astype(colour.dtype)
    return np.concatenate([colour, levels[..., None]], axis=2)


def load_tables(model: str | Path | ModelFile) -> Tables | None:
    """The LUTs in a .safetensors file; None where a model is something else, has a normalisation of its own (LUTs take
    pictures in 0..1 as they are), or there is no library: PyTorch then loads it, or says what is wrong."""
    path = resolve(model).path
    if path is None or not is_safetensors(path):
        return None
    try:
        content = load_safetensors(path)
        spec = content["model"]
        if spec.get("name") != NAME or not set(spec.get("args", {})) <= set(ARGUMENTS):
            return None
        if any(affine != {"sub": [0], "div": [1]} for affine in (content.get("data_norm") or {}).values()):
            return None
        return Tables(spec["sd"], **spec["args"], library=find_library())
    except REFUSALS:
        return None


def find_library() -> Path:
    """The C library: of the package `continua_lerf` where that is installed and made of the same sources, else compiled
    here, once per machine."""
    found = importlib.util.find_spec("continua_lerf")
    for folder in found.submodule_search_locations or () if found else ():
        if (Path(folder) / "sources.txt").read_text().strip() == sources_key():
            return library_path(Path(folder))
    return compiling.compiled("continua_lerf", SOURCES, FLAGS)
