"""Files of the LeRF authors' programs: pickled networks, read without running code, and folders of .npy LUTs."""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.lerf import PATTERNS
from models.lerf.stages import Modes
from models.lerf.tables import ENTRIES, LookUpLeRF
from models.registry import make
from utils.config import MAPPING, check_complete, check_of
from utils.errors import InputError
from utils.files import atomic_file, read_array, read_json

NOTE = "tables.json"
NOTE_KINDS = {"modes": check_of(Modes), "sha256": MAPPING}
KERNELS = {1: "linear", 3: "gauss"}  # by how many values an entry of stage 2 holds


class Inert:
    """Stands for whatever PyTorch does not know in a file: takes any arguments and state, does nothing with them."""

    def __new__(cls, *arguments: Any, **named: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any):
        self.state: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state


def pickled_network_spec(path: str | Path) -> dict[str, Any]:
    """`{name, args, sd}` of the LeRF-L, LeRF-G or LeRF-Net that a `Model_*.pth` of the authors' programs holds, a whole
    module that torch.save pickled; InputError when the file holds anything else."""
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} was saved before PyTorch 1.6; load it with its program and save it again")
    try:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals([(Inert, name) for name in unknown]):
            module = torch.load(path, map_location="cpu", weights_only=True)
        parameters = dict(_parameters(module, ""))
    except Exception as error:  # a file made to be refused can fail in any way
        raise InputError(f"{path} holds no network that can be read ({type(error).__name__})") from None
    try:
        return _network_spec(parameters)
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path} holds a network that is no LeRF-L, LeRF-G or LeRF-Net ({error})") from None


def _parameters(module: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(module, Inert) or not isinstance(module.state, Mapping):
        return
    for name, value in (module.state.get("_parameters") or {}).items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value.detach()
    for name, child in (module.state.get("_modules") or {}).items():
        yield from _parameters(child, f"{prefix}{name}.")


def _network_spec(parameters: Mapping[str, Tensor]) -> dict[str, Any]:
    if "stage1.model.0.weight" in parameters:
        return {"name": "lerf-net", "args": {"nf": len(parameters["stage1.model.0.weight"])}, "sd": parameters}
    modes = "".join(name[3] for name in parameters if re.fullmatch(r"s1_[a-z]r0\.model\.conv1\.conv\.bias", name))
    if not modes:
        raise KeyError("s1_sr0")
    values = len(parameters[f"s2_{modes[0]}r0.model.conv6.conv.bias"])
    width = len(parameters[f"s1_{modes[0]}r0.model.conv1.conv.bias"])
    return {"name": "lerf-l" if values == 1 else "lerf-g", "args": {"nf": width, "modes": modes}, "sd": parameters}


def tables_spec(folder: Path) -> dict[str, Any]:
    """`{name, args, sd}` of the LUTs in a folder, `LUT_s1_sr0.npy` ..., or of the fine-tuned `LUTft_s1_sr0.npy` ...
    where they are there.

    The patterns are those that `write_tables` noted beside them, else all, as published. InputError names a file that
    is missing, of another shape, or changed.
    """
    modes, sha256 = "".join(PATTERNS), {}
    if (note := folder / NOTE).exists():
        noted = read_json(note, "note of tables")
        check_complete(noted, NOTE_KINDS, str(note))
        modes, sha256 = noted["modes"], noted["sha256"]
    prefix = "LUTft_" if any(folder.glob("LUTft_*.npy")) else "LUT_"
    values = _read_table(folder / f"{prefix}s2_{modes[0]}r0.npy").shape[1]
    if values not in KERNELS:
        raise InputError(f"{folder}: tables of stage 2 hold {values} values an entry; expected 1 or 3")
    spec = {"name": "lerf-lut", "args": {"kernel": KERNELS[values], "modes": modes}}
    tables = {}
    for name, _, _, values in make(spec).units():
        path = folder / f"{prefix}{name}.npy"
        tables[name] = _read_table(path)
        if tables[name].shape != (ENTRIES, values):
            raise InputError(f"{path} is {tuple(tables[name].shape)}; expected {(ENTRIES, values)}")
        if path.name in sha256 and sha256[path.name] != _sha256(tables[name]):
            raise InputError(f"{path} is not the table that {NOTE} beside it notes; export it again or remove the note")
    return {**spec, "sd": tables}


def _read_table(path: Path) -> Tensor:
    """(83521, K) int8."""
    if not path.exists():
        raise InputError(f"no table {path}; a folder of tables needs one for every stage, pattern and direction")
    table = read_array(path, "table")
    if table.dtype != np.int8 or table.ndim != 2:
        found = f"{table.dtype} of shape {table.shape}"
        raise InputError(f"{path} holds {found}; expected int8 of shape ({ENTRIES}, values)")
    return torch.from_numpy(table)


def _sha256(table: Tensor) -> str:
    return hashlib.sha256(table.contiguous().numpy()).hexdigest()


def write_tables(folder: Path, model: LookUpLeRF) -> None:
    """The LUTs of a model as the authors' programs read them, `LUT_s1_sr0.npy` ..., and a note of their patterns and
    hashes."""
    sha256 = {}
    for name, table in model.tables():
        path = folder / f"LUT_{name}.npy"
        sha256[path.name] = _sha256(table)
        with atomic_file(path) as temporary, open(temporary, "wb") as file:
            np.save(file, table.numpy())
    with atomic_file(folder / NOTE) as temporary:
        temporary.write_text(json.dumps({"modes": model.modes, "sha256": sha256}, indent=1))
