"""Short names of the weights that come with the project, as models/zoo.yaml lists them."""

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from utils.config import PATH, TEXT, check_keys, check_types, read_yaml, require, whole
from utils.errors import InputError, nearest_name
from utils.files import PROJECT, read_text

ZOO = PROJECT / "models/zoo.yaml"
KINDS = {"file": PATH, "sha256": TEXT, "bytes": whole(1), "about": TEXT}


@dataclass(frozen=True)
class ZooEntry:
    """Shipped weights: their file, below the project's folder, its SHA-256 and size, and what they are, in words."""

    file: Path
    sha256: str
    bytes: int
    about: str


@functools.cache
def zoo() -> dict[str, ZooEntry]:
    """The shipped weights by their short names."""
    entries = read_yaml(read_text(ZOO, "list of models"))
    check_types(entries, {}, ZOO.name)
    made = {}
    for name, entry in entries.items():
        check_types(entry, KINDS, f"{ZOO.name}: {name}")
        check_keys(entry, KINDS, f"{ZOO.name}: {name}")
        file, *others = (require(entry, key, f"{ZOO.name}: {name}") for key in KINDS)
        made[name] = ZooEntry(PROJECT / file, *others)
    return made


def from_zoo(model: str | Path) -> str | Path:
    """The file of a short name, which stands before files of that name (`./s` and a Path are files); anything else as
    it is.

    InputError when the file is not there, or not the one that zoo.yaml lists.
    """
    entry = zoo().get(model) if isinstance(model, str) else None
    if entry is None:
        return model
    if not entry.file.is_file():
        raise InputError(f"model '{model}': {entry.file} is not there; restore it, or name another model")
    content = entry.file.read_bytes()
    if (len(content), hashlib.sha256(content).hexdigest()) != (entry.bytes, entry.sha256):
        raise InputError(
            f"model '{model}': {entry.file} is not the file that {ZOO} lists; restore it, or name the file"
        )
    return entry.file


def unknown_model(model: str | Path, filters: Iterable[str]) -> InputError:
    """What to say of a name that is no file, none of the `filters` and no short name: which there are."""
    filters = list(filters)
    hint = nearest_name(str(model), [*filters, *zoo()])
    close = f"{hint} " if hint.startswith("did you mean") else ""
    known = f"shipped models: {', '.join(zoo())}; filters: {', '.join(filters)}"
    return InputError(f"no checkpoint, filter or shipped model named '{model}'; {close}{known}")
