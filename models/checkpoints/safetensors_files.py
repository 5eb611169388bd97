"""Checkpoints as .safetensors: parameters as tensors, everything else as JSON in the metadata.

Keys of the metadata: `model`, `{name, args}`; `data_norm`; `trained_scales`; `tables`, the layout of LUTs; `figures`,
measured by which protocol; `licence` and `precision`, plain text, see `models.zoo.ModelFile`; `content_hash`, of the
tensors and all other metadata. Training state (optimiser, step, config) stays in the .pth. Nothing here imports
PyTorch.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.lerf import layout
from utils.errors import InputError, shortened
from utils.files import atomic_file, check_regular

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
LICENCE, PRECISION = TEXTS = ("licence", "precision")
KEPT = ("data_norm", "trained_scales", "tables", "figures", *TEXTS)  # of a checkpoint, beside its model
HASH = "content_hash"
MOST_VALUES = 1_000_000  # in a checkpoint
LENGTH_BYTES = 8  # in front of the header


def is_safetensors(path: str | Path) -> bool:
    """Whether a file is one by its name."""
    return Path(path).suffix.lower() == SUFFIX


def released(content: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint without the state of its training."""
    return {"model": content["model"], **{key: content[key] for key in KEPT if content.get(key) is not None}}


def save_safetensors(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write what is `released` of a checkpoint `{model: {name, args, sd}, data_norm, ...}`, all or nothing; InputError
    for values that JSON does not hold."""
    from safetensors.numpy import save  # imported here: most commands write no such file

    kept = released(content)
    spec = {key: kept["model"][key] for key in ("name", "args") if kept["model"].get(key) is not None}
    tensors = {name: _as_array(value) for name, value in kept["model"]["sd"].items()}
    metadata = {"format": "pt", "model": _as_json("model", spec)}
    metadata |= {key: kept[key] if key in TEXTS else _as_json(key, kept[key]) for key in KEPT if key in kept}
    metadata[HASH] = _hash(tensors, metadata)
    with atomic_file(path) as temporary:
        temporary.write_bytes(_in_order(save(tensors, metadata)))


def load_safetensors(path: str | Path) -> dict[str, Any]:
    """The content of such a file as that of a .pth, but for parameters being arrays, in order of name.

    InputError when the header lies or is too long, tensors or metadata were changed since, or there is no model.
    """
    with opened(path) as file:
        metadata = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
    with describing(path):
        check_hash(metadata, _hash(arrays, {key: value for key, value in metadata.items() if key != HASH}))
        if "model" not in metadata:
            raise InputError("its metadata describe no model; expected a file by train.py or tools.convert")
        kept = [key for key in ("model", *KEPT) if key in metadata]
        content = {key: metadata[key] if key in TEXTS else _of_json(key, metadata[key]) for key in kept}
        spec = content["model"]
        if not isinstance(spec, dict) or "sd" in spec or not isinstance(spec.get("args") or {}, dict):
            raise InputError(f"its metadata describe a model by {shortened(spec)}; expected {{name, args}}")
        check_layout(content)
    return {**content, "model": {**spec, "sd": arrays}}


def check_layout(content: Mapping[str, Any]) -> None:
    """InputError where a checkpoint's LUTs are not laid out as they are read here, by what it says in `tables`."""
    tables, args = content.get("tables"), content["model"].get("args") or {}
    if tables is not None and tables != layout(args.get("modes", "sct"), args.get("kernel", "gauss")):
        raise InputError("its LUTs have another layout ('tables') than LeRF's; export them by tools.export_lut")


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of such a file, unchecked but for being texts; InputError when its header cannot be read."""
    with opened(path) as file:
        return file.metadata() or {}


@contextmanager
def describing(path: Path) -> Iterator[None]:
    """Within the block, whatever the content of a file may make fail becomes InputError that names the file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path} describes a model that cannot be built: {shortened(error)}") from None


@contextmanager
def opened(path: str | Path, framework: str = "numpy") -> Iterator[Any]:
    """The file at `path` by the library, whose arrays are NumPy's or, of the framework "pt", PyTorch's tensors;
    whatever a hostile one makes it raise in the block becomes InputError."""
    path = check_regular(path, "checkpoint")
    from safetensors import safe_open  # imported here: most commands read no such file

    try:
        with safe_open(path, framework) as file:
            yield file
    except OSError as error:
        raise InputError(f"checkpoint {path} cannot be read: {error.strerror or error}") from None
    except InputError:
        raise
    except Exception as error:  # the library's own error derives from Exception
        raise InputError(f"{path} is no .safetensors, or damaged: {shortened(str(error))}") from None


def _in_order(content: bytes) -> bytes:
    """A file with its metadata sorted, so that the same model always gives the same bytes; aligned as before."""
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(content[LENGTH_BYTES : LENGTH_BYTES + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text + content[LENGTH_BYTES + length :]


def _as_array(value: "Tensor") -> np.ndarray:
    """A copy, for the format does not hold tensors that share memory; NumPy has no bfloat16."""
    value = value.detach().cpu()
    return (value.float() if str(value.dtype) == "torch.bfloat16" else value).contiguous().clone().numpy()


def _hash(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """The hash of tensors and metadata, in whatever order a writer has put them."""
    return content_hash({"tensors": dict(sorted(tensors.items())), "metadata": dict(sorted(metadata.items()))})


def _as_json(key: str, value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InputError(f"'{key}' of the checkpoint is {shortened(value)}, which JSON cannot hold") from None


def _of_json(key: str, text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"its metadata's '{key}' is not JSON ({shortened(str(error))})") from None


def content_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 of every value of a checkpoint with its place in it, the same for an array as for a tensor; InputError
    for more values than one ever has."""
    digest, values = hashlib.sha256(), 0

    def add(value: Any) -> None:
        nonlocal values
        values += 1
        if values > MOST_VALUES:
            raise InputError(f"it holds more than {MOST_VALUES:,} values; expected a checkpoint")
        if isinstance(value, np.ndarray):
            digest.update(f"torch.{value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
        elif hasattr(value, "detach"):  # a tensor
            import torch

            digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        elif isinstance(value, Mapping | list | tuple):
            digest.update(f"{'{' if isinstance(value, Mapping) else '['}{len(value)}".encode())
            for part in (part for pair in value.items() for part in pair) if isinstance(value, Mapping) else value:
                add(part)
        else:
            digest.update(repr(value).encode())

    add(content)
    return digest.hexdigest()


def check_hash(content: dict[str, Any], found: str) -> None:
    """Take the hash, where there is one, out of `content`; InputError when it is another than was `found`."""
    if content.pop(HASH, found) != found:
        raise InputError("it is damaged or was changed: its content has another hash; copy or download it again")
