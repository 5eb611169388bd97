"""Short names, filters, files and folders to models, without PyTorch."""

import functools
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from models.checkpoints.safetensors_files import LICENCE, PRECISION, is_safetensors, read_metadata
from utils.config import Count, check_complete, load_config
from utils.errors import InputError, nearest_name
from utils.files import PROJECT, from_anywhere
from utils.registry import FILTERS, arguments_of

ZOO = PROJECT / "models/zoo.yaml"
DEFAULT = "subpixel-s"  # where no model is named
DEFAULT_OF_CMSR = "s"  # which needs a render MLP
ENDINGS = (".pth", ".safetensors")  # of checkpoints in a folder; where both are there, the second
ONNX_NOTE = "continua.json"  # what tools.export_onnx writes beside its graphs
LUTS = "LUT*_s[12]_*.npy"  # LUTs in a folder, as the LeRF authors name them


@dataclass(frozen=True)
class ZooEntry:
    """Shipped weights: their file, its SHA-256 and size, a label for menus, and what they are, in words."""

    file: Path
    sha256: str
    bytes: Count
    label: str
    about: str


@dataclass(frozen=True)
class ModelFile:
    """A model before it is loaded.

    `path`: its file or folder, None for a filter. `kind`: "filter", "checkpoint" (.pth, .safetensors), "luts" (a folder
    of .npy files) or "onnx" (a folder). `label`: its name in tables and menus. `precision`: bfloat16 where a release
    has measured that its encoder loses nothing by it. `licence`: of the weights.
    """

    path: Path | None
    kind: str
    label: str
    precision: str = "float32"
    licence: str | None = None

    @property
    def stem(self) -> str:
        """Name of files that belong to this model, without their ending."""
        return self.path.stem if self.path else self.label


@functools.cache
def zoo() -> dict[str, ZooEntry]:
    """The shipped weights by their short names."""
    made = {}
    for name, entry in load_config(ZOO).items():
        check_complete(entry, arguments_of(ZooEntry)[0], f"{ZOO.name}: {name}")
        made[name] = ZooEntry(**{**entry, "file": PROJECT / entry["file"]})
    return made


def resolve(model: "str | Path | ModelFile") -> ModelFile:
    """The model of a short name or a filter's name (a text; a Path, and `./s`, are files), of a file or of a folder:
    one that tools.export_onnx or tools.export_lut wrote, of LUTs under the LeRF authors' names, or with one checkpoint.

    Paths are looked for below the project's folder, too, and as .safetensors with the same stem. InputError when there
    is no such model, a shipped file is not the one that zoo.yaml lists, or the header of a .safetensors is broken.
    """
    if isinstance(model, ModelFile):
        return model
    if model in FILTERS:
        return ModelFile(None, "filter", str(model))
    if isinstance(model, str) and model in zoo():
        entry = zoo()[model]
        if not entry.file.is_file():
            raise InputError(f"model '{model}': {entry.file} is not there; restore it, or name another model")
        content = entry.file.read_bytes()
        if (len(content), hashlib.sha256(content).hexdigest()) != (entry.bytes, entry.sha256):
            raise InputError(
                f"model '{model}': {entry.file} is not the file that {ZOO} lists; restore it, or name the file"
            )
        return _of_file(entry.file, entry.label)
    path = from_anywhere(model)
    if not os.path.exists(path) and Path(model).name:
        path = from_anywhere(Path(model).with_suffix(ENDINGS[-1]))
    if os.path.exists(path):
        return _of_folder(path) if path.is_dir() else _of_file(path, path.stem)
    if Path(model).suffix:
        raise InputError(f"no checkpoint {model}; check the name")
    hint = nearest_name(str(model), [*FILTERS, *zoo()])
    close = f"{hint} " if hint.startswith("did you mean") else ""
    known = f"shipped models: {', '.join(zoo())}; filters: {', '.join(FILTERS)}"
    raise InputError(f"no checkpoint, filter or shipped model named '{model}'; {close}{known}")


def resolve_all(models: Iterable[str | Path | None]) -> None:
    """`resolve` those that are given, before work begins."""
    for model in filter(None, models):
        resolve(model)


def _of_file(path: Path, label: str) -> ModelFile:
    metadata = read_metadata(path) if is_safetensors(path) else {}
    precision = "bfloat16" if metadata.get(PRECISION) == "bfloat16" else "float32"
    return ModelFile(path, "checkpoint", label, precision, metadata.get(LICENCE))


def _of_folder(folder: Path) -> ModelFile:
    if (folder / ONNX_NOTE).is_file():
        return ModelFile(folder, "onnx", folder.name)
    checkpoints = {path.stem: path for ending in ENDINGS for path in folder.glob(f"*{ending}")}
    if "tables" in checkpoints:  # the LUTs that tools.export_lut writes, whatever lies beside them
        return _of_file(checkpoints["tables"], folder.name)
    if any(folder.glob(LUTS)):
        return ModelFile(folder, "luts", folder.name)
    if len(checkpoints) != 1:
        raise InputError(f"{folder} holds {len(checkpoints)} checkpoints and no LUT_*.npy; name one file")
    (path,) = checkpoints.values()
    return _of_file(path, path.stem)
