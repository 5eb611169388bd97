"""Candidates of a test: models, and folders of pictures by other programs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoints.loading import load_upscaler, on_upsampler
from models.cmsr.tables import ScaleTable, find_table
from models.computing import choose
from models.decoders.lmf import LMFDecoder
from models.lerf.lerf_net import LeRFNet
from models.upscaler import Ensemble, Upscaler
from models.zoo import resolve
from pictures.reading import list_pictures, read_rgb
from pictures.tensors import to_tensor
from utils.errors import InputError
from utils.geometry.sizes import Size

PICTURES = "pictures:"  # what stands before a folder that is scored in a model's place


@dataclass(frozen=True)
class PictureFolder:
    """Pictures that another program has made from a set's LR pictures.

    They lie in `folder`, whose {set} and {scale} stand for the names of a task, or below it in SET/SCALE, SCALE or SET,
    under the names of the HR pictures, of which more may follow: baby.png or baby_x2_EDSR.png of baby.png.
    """

    folder: str

    def picture(self, name: str, label: str, path: Path, size: Size) -> Tensor:
        """(3, H, W) in [0, 1]: the picture for the HR one at `path`, cut at the right and bottom to its `size`, at
        `label` (x2, isc) of the set `name`; InputError where there is none, or a smaller one."""
        given = Path(self.folder.replace("{set}", name).replace("{scale}", label))
        folder = next((f for f in (given / name / label, given / label, given / name) if f.is_dir()), given)
        pictures = list_pictures(folder)
        longer = re.compile(re.escape(path.stem) + r"(?![a-z0-9])|" + re.escape(path.stem) + r"x\d", re.IGNORECASE)
        found = [p for p in pictures if p.stem == path.stem] or [p for p in pictures if longer.match(p.stem)]
        if len(found) != 1:
            raise InputError(
                f"{folder} has {len(found)} pictures for {path.name}; give them the names of the HR pictures"
            )
        picture = to_tensor(read_rgb(found[0]))
        if any(n < m for n, m in zip(picture.shape[1:], size, strict=True)):
            shown = f"{picture.shape[2]}x{picture.shape[1]}"
            raise InputError(f"{found[0]} is {shown}, smaller than the {size[1]}x{size[0]} of {path.name} at {label}")
        return picture[:, : size[0], : size[1]]


Candidate = Upscaler | PictureFolder


def load_candidates(arguments: Any, device: torch.device, data_norm: Mapping[str, Any] | None) -> dict[str, Candidate]:
    """The models and folders that arguments name, under the labels of the table: file stems, or whole paths where stems
    are the same; `NET+NAME` for a LeRF-Net on `--upsampler`.

    `--backend` is for models; a filter, which has no kernels, is computed by what there is, and `--precision` for those
    with an encoder.
    """
    names, precision = arguments.model, arguments.precision
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--model names {twice[0]} twice; name each model once")
    stems = [stem(name) for name in names]
    made: dict[str, Candidate] = {}
    for own, name in zip(stems, names, strict=True):
        label = own if stems.count(own) == 1 else name
        if name.startswith(PICTURES):
            made[label] = PictureFolder(name.removeprefix(PICTURES))
            continue
        file = resolve(name)
        upscaler = load_upscaler(file, device, data_norm, "auto" if file.kind == "filter" else arguments.backend)
        if upscaler.model.encodes:
            upscaler.precision = choose(precision, True, device, file.precision)
        made[label] = upscaler
    if arguments.upsampler:
        upsampler = load_upscaler(arguments.upsampler, device, backend=arguments.backend)
        name = resolve(arguments.upsampler).stem
        nets = {label: m for label, m in made.items() if isinstance(m, Upscaler) and type(m.model) is LeRFNet}
        if not nets:
            raise InputError("--upsampler: none of the models is a lerf-net")
        put = {label: on_upsampler(net, upsampler, precision) for label, net in nets.items()}
        made = {f"{label}+{name}" if label in put else label: put.get(label, m) for label, m in made.items()}
    models = {label: model for label, model in made.items() if isinstance(model, Upscaler)}
    if precision == "bfloat16" and not any(upscaler.model.encodes for upscaler in models.values()):
        raise InputError("--precision bfloat16: none of the models has an encoder; remove it")
    for label, upscaler in models.items():
        upscaler.safeguards = arguments.safeguards
        made[label] = Ensemble.of(upscaler) if arguments.ensemble else upscaler
    return made


def stem(name: str) -> str:
    """The label of a model or of a folder: the last part of its path, without ending or braces."""
    parts = [part for part in Path(name.removeprefix(PICTURES)).parts if "{" not in part]
    return Path(parts[-1]).stem if parts else name


def find_tables(arguments: Any, upscalers: Mapping[str, Candidate]) -> dict[str, ScaleTable]:
    """The scale2mod table of every model that CMSR can control; at least one."""
    given = zip(upscalers, arguments.model, strict=True)
    paths = {label: path for label, path in given if isinstance(getattr(upscalers[label], "model", None), LMFDecoder)}
    if not paths:
        raise InputError("--cmsr: none of the models is an LM-LIIF, LM-LTE or LM-CiaoSR")
    path, mse, force = arguments.cmsr_path, arguments.cmsr_mse, arguments.force
    return {label: find_table(upscalers[label], model, path, mse, force) for label, model in paths.items()}
