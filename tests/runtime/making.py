"""LUT files for the tests of the C runtime, written as models/checkpoints writes them."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.checkpoints.safetensors_files import HASH, content_hash, load_safetensors
from models.lerf import layout
from runtime.lerf.continua_lerf import Tables

SHIPPED = Path(__file__).parents[2] / "save/pretrained_models"


def shipped(name: str) -> dict:
    """{name, args, sd} of shipped LUTs."""
    return load_safetensors(SHIPPED / f"{name}.safetensors")["model"]


def tables(name: str, library: Path) -> Tables:
    spec = shipped(name)
    return Tables(spec["sd"], **spec["args"], library=library)


def header(spec: Mapping, tables: object = None, **changes: object) -> dict:
    """The header of a .safetensors file of `spec`; `changes` replace entries."""
    entries, place = {}, 0
    for name, lut in sorted(spec["sd"].items()):
        entries[name] = {"dtype": "I8", "shape": list(lut.shape), "data_offsets": [place, place + lut.size]}
        place += lut.size
    args = spec["args"]
    tables = layout(args.get("modes", "sct"), args.get("kernel", "gauss")) if tables is None else tables
    described = {"name": spec["name"], "args": args}
    metadata = {
        "format": "pt",
        "model": json.dumps(described),
        "tables": json.dumps(tables),
    }
    hashed = {"tensors": dict(sorted(spec["sd"].items())), "metadata": dict(sorted(metadata.items()))}
    return {"__metadata__": {**metadata, HASH: content_hash(hashed)}, **entries, **changes}


def write(path: Path, spec: Mapping, head: object = None) -> Path:
    """A .safetensors file with the LUTs of `spec` and its header, or another one."""
    text = head if isinstance(head, bytes) else json.dumps(header(spec) if head is None else head).encode()
    luts = b"".join(np.ascontiguousarray(lut).tobytes() for _, lut in sorted(spec["sd"].items()))
    path.write_bytes(struct.pack("<Q", len(text)) + text + luts)
    return path
