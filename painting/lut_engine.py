"""Enlarging by LeRF's LUTs with the C library in runtime/lerf, without PyTorch."""

import importlib.util
from pathlib import Path

import numpy as np

from models.checkpoints.safetensors_files import is_safetensors, load_safetensors
from models.native import compiling
from models.zoo import ModelFile, resolve
from painting.plan import Painted, Plan
from painting.request import Request
from pictures.picture import DTYPES, PEAKS
from runtime.lerf.continua_lerf import LerfError, Tables, library_path
from runtime.lerf.sources import FLAGS, SOURCES, sources_key
from utils import progress, system
from utils.errors import InputError
from utils.geometry.sizes import is_enlarged

NAME = "lerf-lut"
ARGUMENTS = {"kernel": str, "modes": str, "support": int, "antialias": bool}
BAND_ROWS, BAND_PIXELS = 64, 1 << 23  # that are painted together at least
PIXEL_BYTES = 150  # that the library takes of an LR pixel, about


class LutEngine:
    """Enlarges pictures by LUTs."""

    # What it does; for a request of anything else PyTorch computes
    OPTIONS = frozenset({
        "input", "output", "shard", "suffix", "format", "overwrite", "skip_existing", "scale", "size", "fit", "fill",
        "long_side", "megapixels", "crop", "depth", "compression", "quality", "memory", "strict", "strip_metadata",
        "codec", "keep_depth", "frames", "resume", "model", "backend", "precision", "device", "threads",
    })  # fmt: skip

    def __init__(self, tables: Tables, threads: int):
        self.tables, self.threads = tables, threads

    @classmethod
    def of(cls, request: Request) -> "LutEngine | None":
        """The engine for a request's model; None where that is no LUTs or PyTorch has to compute."""
        elsewhere = request.backend in ("torch", "triton") or request.device not in ("auto", "cpu")
        if elsewhere or request.precision == "bfloat16" or not request.given <= cls.OPTIONS:
            return None
        tables = load_tables(request.model)
        return tables and cls(tables, system.threads_without_torch(request.threads))

    def can(self, plan: Plan) -> bool:
        """Whether the library gives exactly what PyTorch gives: grey and colours of 8 or 16 bits, without transparency,
        larger along an axis and smaller along none, in one piece."""
        picture, made, usable = plan.picture, plan.pixel_format, system.usable_memory(plan.request.memory)
        given = picture.pixel_format
        if usable is not None and plan.needed(picture.size, PIXEL_BYTES) > usable:
            return False
        if given.colours not in ("L", "RGB") or not {given.depth, plan.request.depth or made.depth} <= {8, 16}:
            return False
        if given.has_alpha and picture.pixels[..., -1].min() < PEAKS[given.depth]:
            return False
        return made.depth in (8, 16) and is_enlarged(picture.size, plan.size)

    def paint(self, plan: Plan) -> Painted:
        """The plan's window, a band of rows after the other."""
        made, (top, left, (height, width)) = plan.pixel_format, plan.window
        pixels = plan.picture.pixels[..., : len(plan.picture.pixel_format.colours)]
        output = np.full((height, width, len(made.channels)), PEAKS[made.depth], DTYPES[made.depth])
        step = max(BAND_ROWS, BAND_PIXELS // width)
        with progress.stage("painting", height):
            for row in range(0, height, step):
                part = top + row, left, (min(step, height - row), width)
                try:
                    band = self.tables.upscale(pixels, plan.size, part, output.dtype, self.threads)
                except LerfError as error:
                    raise InputError(f"{plan.job.source}: {error}") from None
                output[row : row + step, :, : len(made.colours)] = band  # grey becomes RGB where the format has no grey
                progress.advance(len(band))
        return plan.painted(output, made)


def load_tables(model: str | Path | ModelFile) -> Tables | None:
    """The LUTs in a .safetensors file; None where a model is something else, has a normalisation of its own (LUTs take
    pictures in 0..1 as they are), or there is no library: PyTorch then loads it, or says what is wrong."""
    path = resolve(model).path
    if path is None or not is_safetensors(path):
        return None
    try:
        content = load_safetensors(path)
        spec = content["model"]
        args = spec.get("args") or {}
        if spec.get("name") != NAME or not all(isinstance(args[name], ARGUMENTS.get(name, ())) for name in args):
            return None
        if any(affine != {"sub": [0], "div": [1]} for affine in (content.get("data_norm") or {}).values()):
            return None
        return Tables(spec["sd"], **args, library=find_library())
    except (InputError, LerfError, compiling.BuildError):
        return None


def find_library() -> Path:
    """The C library: of the package `continua_lerf` where that is installed and made of the same sources, else compiled
    here, once per machine."""
    found = importlib.util.find_spec("continua_lerf")
    for folder in found.submodule_search_locations or () if found else ():
        if (Path(folder) / "sources.txt").read_text().strip() == sources_key():
            return library_path(Path(folder))
    return compiling.compiled("continua_lerf", SOURCES, FLAGS)
