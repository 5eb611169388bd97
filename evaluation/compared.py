"""The models that a test compares, under the labels of its tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from models.checkpoints.loading import load_upscaler, on_upsampler
from models.cmsr.tables import ScaleTable, find_table
from models.decoders.lmf import LMFDecoder
from models.lerf.lerf_net import LeRFNet
from models.precision import choose
from models.upscaler import Upscaler
from models.zoo import resolve
from utils.errors import InputError


def load_upscalers(
    names: Sequence[str],
    device: torch.device,
    data_norm: Mapping[str, Any] | None,
    backend: str,
    precision: str = "float32",
) -> dict[str, Upscaler]:
    """Models under the labels of the table: file stems, or whole paths where stems are the same. The `backend` is for
    models; a filter, which has no kernels, is computed by what there is, and the `precision` for those with an
    encoder."""
    stems = [Path(name).stem for name in names]
    upscalers = {}
    for stem, name in zip(stems, names, strict=True):
        file = resolve(name)
        upscaler = load_upscaler(file, device, data_norm, "auto" if file.kind == "filter" else backend)
        if upscaler.model.encodes:
            upscaler.precision = choose(precision, True, device, file.precision)
        upscalers[stem if stems.count(stem) == 1 else name] = upscaler
    return upscalers


def put_on_upsampler(
    upscalers: Mapping[str, Upscaler], upsampler: Upscaler, name: str, precision: str = "float32"
) -> dict[str, Upscaler]:
    """The models with every LeRF-Net on the upsampler, as `NET+NAME`; at least one."""
    made = {}
    for label, upscaler in upscalers.items():
        is_net = type(upscaler.model) is LeRFNet
        new_label = f"{label}+{name}" if is_net else label
        made[new_label] = on_upsampler(upscaler, upsampler, precision) if is_net else upscaler
    if made.keys() == upscalers.keys():
        raise InputError("--upsampler: none of the models is a lerf-net")
    return made


def find_tables(arguments: Any, upscalers: Mapping[str, Upscaler]) -> dict[str, ScaleTable]:
    """The scale2mod table of every model that CMSR can control; at least one."""
    given = zip(upscalers, arguments.model, strict=True)
    paths = {label: path for label, path in given if isinstance(upscalers[label].model, LMFDecoder)}
    if not paths:
        raise InputError("--cmsr: none of the models is an LM-LIIF, LM-LTE or LM-CiaoSR")
    path, mse, force = arguments.cmsr_path, arguments.cmsr_mse, arguments.force
    return {label: find_table(upscalers[label], model, path, mse, force) for label, model in paths.items()}
