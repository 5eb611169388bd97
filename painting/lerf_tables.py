"""LUTs of LeRF for the C runtime (runtime/lerf): which models are such, and the library. Without PyTorch."""

import ctypes
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.native import compiling
from runtime.lerf.continua_lerf import LerfError, Tables, library_path
from runtime.lerf.sources import FLAGS, SOURCES, sources_key
from utils.content_hash import HASH, content_hash
from utils.errors import InputError
from utils.saved_arrays import NotPlainError, read_safetensors, read_saved_arrays

NAME = "lerf-lut"
ARGUMENTS = ("kernel", "modes", "support", "antialias")
REFUSALS = (
    InputError, compiling.BuildError, LerfError, OSError, LookupError, TypeError, ValueError, AttributeError,
    RecursionError, ctypes.ArgumentError,
)  # fmt: skip
TABLES_FILE = "tables.pth"  # what tools.export_lut calls the LUTs in a folder


def load_tables(model: str | Path) -> Tables | None:
    """The LUTs in a folder of tools.export_lut, a .pth or a .safetensors file; None where a model is something else,
    the file is not as this project writes it, or there is no library: PyTorch then loads it, or says what is wrong."""
    path = Path(model)
    try:
        path = path / TABLES_FILE if path.is_dir() else path
        spec = _from_safetensors(path) if path.suffix.lower() == ".safetensors" else _from_pth(path)
        if spec.get("name") != NAME or not set(spec.get("args", {})) <= set(ARGUMENTS):
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


def _from_pth(path: Path) -> Mapping[str, Any]:
    """{name, args, sd} of a checkpoint of LUTs."""
    if path.suffix.lower() not in (".pth", ".pt"):
        raise NotPlainError(f"{path} is no .pth")
    content = read_saved_arrays(path, lambda structure: NAME.encode() in structure)
    _check(content.pop(HASH, None), content, content.get("data_norm"))
    return content["model"]


def _from_safetensors(path: Path) -> Mapping[str, Any]:
    """{name, args, sd} of a file whose metadata hold JSON: `model`, {name, args}, and `data_norm`."""
    arrays, metadata = read_safetensors(path)
    spec = json.loads(metadata["model"])
    if spec["name"] != NAME:
        raise NotPlainError(f"{path} holds something else")
    noted, normalization = metadata.pop(HASH, None), json.loads(metadata.get("data_norm", "null"))
    content = {"tensors": dict(sorted(arrays.items())), "metadata": dict(sorted(metadata.items()))}
    _check(noted, content, normalization)
    return {**spec, "sd": arrays}


def _check(noted: str | None, content: Mapping[str, Any], data_norm: Any) -> None:
    """NotPlainError where the content has another hash than is `noted` with it, or another normalisation than LUTs,
    which take pictures in 0..1 as they are."""
    if noted not in (None, content_hash(content)):
        raise NotPlainError("it is damaged or was changed")
    for affine in (data_norm or {}).values():
        if {key: set(values) for key, values in affine.items()} != {"sub": {0}, "div": {1}}:
            raise NotPlainError("it has a normalisation of its own")
