"""Checkpoints `{model: {name, args, sd}, ...}`, as LIIF, LTE and LMF have them: written whole, read safely."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from models.checkpoints.exported import ExportedModel
from models.checkpoints.lerf import pickled_network_spec, tables_spec
from models.checkpoints.mmediting import ciaosr_spec, is_mmediting
from models.checkpoints.networks import NETWORK, SpandrelNetwork, network_spec
from models.checkpoints.safetensors_files import (
    HASH,
    check_hash,
    check_layout,
    content_hash,
    describing,
    is_safetensors,
    load_safetensors,
    opened,
    read_metadata,
)  # fmt: skip
from models.computing import choose
from models.continuous import ContinuousModel
from models.lerf.lerf_net import LeRFNet, LeRFNetPlus
from models.native import backends
from models.normalization import Normalization
from models.registry import make
from models.upscaler import Upscaler
from models.zoo import ModelFile, resolve
from utils.config import NUMBERS, Check, check
from utils.errors import InputError, shortened
from utils.files import CodeInFileError, atomic_file, read_tensors

SCALE_RANGE = Check(
    "two numbers above 0, the smallest and the largest scale",
    lambda v: NUMBERS.fits(v) and len(v) == 2 and 0 < v[0] <= v[1],
)


def save_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write `content` (tensors, numbers, strings in dicts and lists) and its hash to `path`, all or nothing."""
    buffer = io.BytesIO()  # PyTorch would meet a full disk with an error that does not say so
    torch.save({**content, HASH: content_hash(content)}, buffer)
    with atomic_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint or a folder of LUTs, on the CPU; InputError when it is missing, damaged, none, or
    wants to run code."""
    path = Path(path)
    if path.is_dir():
        return {"model": tables_spec(path)}
    if is_safetensors(path):
        return _load_safetensors(path)
    try:
        content = read_tensors(path, "checkpoint")
    except CodeInFileError as error:  # the one kind of such files that is read, without running any of it
        try:
            return {"model": pickled_network_spec(path)}
        except InputError as reason:
            raise InputError(f"{error}, and is not one of the LeRF authors' files ({reason})") from None
    if not isinstance(content, dict):
        content = {"model": content}
    with describing(path):
        if HASH in content:
            check_hash(content, content_hash({key: value for key, value in content.items() if key != HASH}))
        if is_mmediting(content):
            return {"model": ciaosr_spec(content)}
        if isinstance(content.get("model"), dict):
            check_layout(content)
    is_spec = isinstance(content.get("model"), dict)
    if not (is_spec and "name" in content["model"]) and (spec := network_spec(content)):
        return {"model": spec}
    if not is_spec:
        raise InputError(f"{path} holds no model; expected {{model: {{name, args, sd}}}}")
    return content


def _load_safetensors(path: Path) -> dict[str, Any]:
    """Of a file of this project, or another one's parameters."""
    if "model" not in read_metadata(path):
        with opened(path, "pt") as file:
            return {"model": {"name": NETWORK, "sd": {name: file.get_tensor(name) for name in sorted(file.keys())}}}
    content = load_safetensors(path)
    parameters = {name: torch.from_numpy(array.copy()) for name, array in content["model"]["sd"].items()}
    return {**content, "model": {**content["model"], "sd": parameters}}


def load_content(model: str | Path | ModelFile) -> dict[str, Any]:
    """The content of a checkpoint of this project or its papers, or of a folder of LUTs, as `models.zoo.resolve` finds
    it; InputError for others."""
    file = resolve(model)
    if file.kind in ("filter", "onnx"):
        kind = "a filter" if file.kind == "filter" else "an ONNX export already"
        raise InputError(f"{model} is {kind}; name a checkpoint")
    content = load_checkpoint(file.path)
    if content["model"].get("name") == NETWORK:
        raise InputError(f"{file.path} is a network of another program, which is run as it is, and not changed here")
    return content


def load_upscaler(
    model: str | Path | ModelFile,
    device: torch.device | None = None,
    data_norm: Mapping[str, Any] | None = None,
    backend: str = "auto",
    precision: str = "float32",
) -> Upscaler:
    """The model that `models.zoo.resolve` finds, on a device.

    The normalisation is the checkpoint's own `data_norm`; files without one, as the authors', take `data_norm` (a
    config's), else the model's own; so are the trained scales. `backend` is as in `models.native.backends.choose`,
    `precision` as in `models.computing.choose`.
    """
    file, device = resolve(model), device or torch.device("cpu")
    if file.kind == "filter":
        made, normalization = make({"name": file.label}), None
    elif file.kind == "onnx":
        made, normalization = ExportedModel(file.path), None
    else:
        content = load_checkpoint(file.path)
        with describing(file.path):
            made = make_continuous(content["model"], load_sd=True, trained_scales=content.get("trained_scales")).eval()
            data_norm = content.get("data_norm") or data_norm
            normalization = Normalization.from_config(data_norm) if data_norm else None
    backends.check(backend, made.native_library)
    precision = choose(precision, made.encodes, device, file.precision)
    return Upscaler(made.to(device, memory_format=torch.channels_last), normalization, device, backend, precision)


def on_upsampler(net: Upscaler, upsampler: Upscaler, precision: str = "float32") -> Upscaler:
    """LeRF-Net++: a LeRF-Net that works on what `upsampler` enlarges by 2, in this `precision`.

    InputError when `net` is no LeRF-Net, or the upsampler was trained with another normalisation than its own.
    """
    if type(net.model) is not LeRFNet:
        raise InputError(f"an upsampler is for a lerf-net, not for a {type(net.model).__name__}")
    if upsampler.normalization != Normalization.of(*upsampler.model.normalization):
        raise InputError("this upsampler has a data_norm of its own; only (x - 0.5) / 0.5 is possible here")
    plus = LeRFNetPlus.of(net.model, upsampler.model)
    precision = choose(precision, plus.encodes, net.device)
    return Upscaler(plus, net.normalization, net.device, net.backend, precision)


def make_continuous(
    spec: Mapping[str, Any], load_sd: bool = False, trained_scales: Sequence[float] | None = None
) -> ContinuousModel:
    """A complete model, with the smallest and largest of `trained_scales` where they are given; InputError when `spec`
    names only a part of one."""
    made = SpandrelNetwork(spec["sd"]) if spec.get("name") == NETWORK else make(spec, load_sd)
    if not isinstance(made, ContinuousModel):
        raise InputError(f"{shortened(spec['name'])} is only a part of a model, such as an encoder; name a decoder")
    if trained_scales is not None and made.trained_scales is not None:
        check("trained_scales", trained_scales, SCALE_RANGE)
        made.trained_scales = tuple(map(float, trained_scales))
    return made
