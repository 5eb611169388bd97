"""Files of the LeRF authors' programs: pickled networks, read without running code, and folders of .npy tables."""

import hashlib
import json
import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.lerf.stages import PATTERNS, Modes
from models.lerf.tables import ENTRIES, LookUpLeRF
from models.registry import make
from utils.config import MAPPING, check_keys, check_of, check_types, require
from utils.errors import InputError
from utils.files import atomic_file, read_array, read_json

# What a pickled module is rebuilt from; every other name in the file becomes an Inert.
REBUILDERS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    **{("torch", name): getattr(torch, name) for name in ("FloatStorage", "HalfStorage", "LongStorage")},
}
NOTE = "tables.json"
NOTE_KINDS = {"modes": check_of(Modes), "sha256": MAPPING}
KERNEL_OF_VALUES = {1: "linear", 3: "gauss"}


class Inert:
    """Stands for whatever a file names: takes any arguments and state, does nothing with them."""

    dump_patches = False  # what torch.load asks classes in files of before PyTorch 1.6

    def __new__(cls, *arguments: Any, **named: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any):
        self.state: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...


class Unpickler(pickle._Unpickler):
    """An unpickler that knows tensors and nothing else: no name in a file is ever imported or called.

    It is the one in Python, for that in C takes as much memory as the largest number of an object that a file gives.
    """

    def find_class(self, module: str, name: str) -> Any:
        return REBUILDERS.get((module, name), Inert)


class Restricted:
    """What torch.load uses of the pickle module, with the restricted unpickler everywhere."""

    Unpickler = Unpickler

    @staticmethod
    def load(file: Any, **arguments: Any) -> Any:
        return Unpickler(file, **arguments).load()


def read_pickled_module(path: str | Path) -> dict[str, Tensor]:
    """The parameters of a whole module that torch.save pickled; InputError when the file holds anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about classes whose source it cannot compare
            module = torch.load(path, map_location="cpu", pickle_module=Restricted, weights_only=False)
        parameters = dict(_parameters(module, ""))
    except Exception as error:  # a file made to be refused can fail in any way
        raise InputError(f"{path} holds no network that can be read ({type(error).__name__})") from None
    if not parameters:
        raise InputError(f"{path} holds no network")
    return parameters


def _parameters(module: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(module, Inert) or not isinstance(module.state, Mapping):
        return
    for name, value in (module.state.get("_parameters") or {}).items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value.detach()
    for name, child in (module.state.get("_modules") or {}).items():
        yield from _parameters(child, f"{prefix}{name}.")


def pickled_network_spec(path: str | Path) -> dict[str, Any]:
    """`{name, args, sd}` of the LeRF-L, LeRF-G or LeRF-Net that a `Model_*.pth` of the authors' programs holds."""
    parameters = read_pickled_module(path)
    try:
        return _network_spec(parameters)
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path} holds a network that is no LeRF-L, LeRF-G or LeRF-Net ({error})") from None


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
    """`{name, args, sd}` of the tables in a folder, `LUT_s1_sr0.npy` ..., or fine-tuned ones, `LUTft_s1_sr0.npy` ...,
    which are preferred where both are there.

    The patterns are those that `write_tables` noted beside them, else all, as published: what a model gives without
    one of its patterns is no picture. InputError names a file that is missing, of another shape, or changed.
    """
    noted = _read_note(folder)
    modes = noted.get("modes", "".join(PATTERNS))
    prefix = "LUTft_" if any(folder.glob("LUTft_*.npy")) else "LUT_"
    values = _read_table(folder / f"{prefix}s2_{modes[0]}r0.npy").shape[1]
    kernel = KERNEL_OF_VALUES.get(values)
    if kernel is None:
        raise InputError(f"{folder}: tables of stage 2 hold {values} values an entry; expected 1 or 3")
    spec = {"name": "lerf-lut", "args": {"kernel": kernel, "modes": modes}}
    tables = {}
    for name, _, _, values in make(spec).units():
        path = folder / f"{prefix}{name}.npy"
        tables[name] = _read_table(path)
        if tables[name].shape != (ENTRIES, values):
            raise InputError(f"{path} is {tuple(tables[name].shape)}; expected {(ENTRIES, values)}")
        if noted and noted["sha256"].get(path.name, _sha256(tables[name])) != _sha256(tables[name]):
            raise InputError(f"{path} is not the table that {NOTE} beside it notes; export it again or remove the note")
    return {**spec, "sd": tables}


def _read_note(folder: Path) -> dict[str, Any]:
    """What `write_tables` noted in a folder; nothing where it did not."""
    path = folder / NOTE
    if not path.exists():
        return {}
    noted = read_json(path, "note of tables")
    check_types(noted, NOTE_KINDS, str(path))
    check_keys(noted, NOTE_KINDS, str(path))
    return {key: require(noted, key, str(path)) for key in NOTE_KINDS}


def _read_table(path: Path) -> Tensor:
    """(83521, K) int8."""
    if not path.exists():
        raise InputError(f"no table {path}; a folder of tables needs one for every stage, pattern and direction")
    table = read_array(path, "table")
    if table.dtype != np.int8 or table.ndim != 2:
        raise InputError(
            f"{path} holds {table.dtype} of shape {table.shape}; expected int8 of shape ({ENTRIES}, values)"
        )
    return torch.from_numpy(table)


def _sha256(table: Tensor) -> str:
    return hashlib.sha256(table.contiguous().numpy()).hexdigest()


def write_tables(folder: Path, model: LookUpLeRF) -> None:
    """The tables of a model as the authors' programs read them, `LUT_s1_sr0.npy` ..., and a note of their patterns and
    hashes."""
    sha256 = {}
    for name, table in model.tables():
        path = folder / f"LUT_{name}.npy"
        sha256[path.name] = _sha256(table)
        with atomic_file(path) as temporary, open(temporary, "wb") as file:
            np.save(file, table.numpy())
    with atomic_file(folder / NOTE) as temporary:
        temporary.write_text(json.dumps({"modes": model.modes, "sha256": sha256}, indent=1))
