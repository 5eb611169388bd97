"""LUTs of LeRF for the C runtime (runtime/lerf): which models are such, and the library. Without PyTorch."""

import ctypes
import importlib.util
from pathlib import Path

from models.checkpoints.safetensors_files import is_safetensors, load_safetensors
from models.native import compiling
from models.zoo import ModelFile, resolve
from runtime.lerf.continua_lerf import LerfError, Tables, library_path
from runtime.lerf.sources import FLAGS, SOURCES, sources_key
from utils.errors import InputError

NAME = "lerf-lut"
ARGUMENTS = ("kernel", "modes", "support", "antialias")
REFUSALS = (
    InputError, compiling.BuildError, LerfError, OSError, LookupError, TypeError, ValueError, AttributeError,
    RecursionError, ctypes.ArgumentError,
)  # fmt: skip


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
