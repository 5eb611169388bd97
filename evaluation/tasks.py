"""What a test config asks to measure: data sets at scales or under warps."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

import datasets
from datasets.folders import find_folder
from datasets.implicit import ImplicitDataset
from datasets.warped import WarpedImageFolders
from evaluation.measure import measure_pair, measure_warp
from evaluation.metrics import Metric
from evaluation.protocols import Protocol, find_protocol, parse_eval_type
from models.cmsr.report import control
from models.cmsr.tables import ScaleTable
from models.upscaler import Upscaler
from pictures.tensors import to_tensor
from utils.config import (
    FOLDER_NAME,
    FOLDER_NAMES,
    FOLDERS,
    MAPPING,
    SCALES,
    TEXT,
    check,
    check_keys,
    check_types,
    plain_number,
    require,
    whole,
)
from utils.errors import InputError
from utils.geometry.homographies import Homography
from utils.geometry.sizes import Scale, parse_scale, scale_text
from utils.random_state import repeatable

KINDS = {
    "protocol": TEXT, "scales": SCALES, "warps": FOLDER_NAMES, "datasets": MAPPING, "data_norm": MAPPING,
    "eval_bsize": whole(1), "test_dataset": MAPPING, "eval_type": TEXT,
}  # fmt: skip


SET_KINDS = {"hr": FOLDERS, "lr": FOLDERS, "warp": FOLDERS, "first_k": whole(1)}


PILLOW_LR = "made with Pillow's bicubic"


@dataclass(frozen=True)
class Sample:
    """What a picture is measured on: LR (3, h, w) and HR (3, H, W), both in [0, 1], and how the LR one was warped."""

    lr: Tensor
    hr: Tensor
    homography: Homography | None = None

    def hashes(self) -> dict[str, str]:
        """The beginning of the SHA-256 of the pixels of both."""
        return {key: _sha256(tensor) for key, tensor in (("lr", self.lr), ("hr", self.hr))}


def _sha256(tensor: Tensor) -> str:
    values = tensor.contiguous()
    return hashlib.sha256(repr(tuple(values.shape)).encode() + values.numpy().tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Task:
    """One data set at one scale (None where the pictures themselves decide), or under one kind of `warp`.

    InputError for a name, or a warp, that would leave the folder that output pictures are written to.
    """

    name: str
    scale: Scale | None
    lr_source: str
    samples: ImplicitDataset | WarpedImageFolders
    protocol: Protocol
    warp: str | None = None

    def __post_init__(self) -> None:
        check("the name of a data set", self.name, FOLDER_NAME)
        check("a warp", self.warp, FOLDER_NAME, optional=True)

    @property
    def label(self) -> str:
        """`x2`, `x3x1.5`, `isc`, or nothing."""
        return self.warp or (f"x{scale_text(self.scale)}" if self.scale else "")

    def sample(self, index: int) -> Sample:
        """What picture `index` is measured on."""
        with repeatable(index):
            if isinstance(self.samples, WarpedImageFolders):
                lr, hr, homography = self.samples[index]
                return Sample(to_tensor(lr), to_tensor(hr), homography)
            return Sample(*map(to_tensor, self.samples.pair(index)))

    def measure(
        self, sample: Sample, upscaler: Upscaler, queries: int | None, metrics: Mapping[str, Metric] | None = None
    ) -> tuple[dict[str, float], Tensor]:
        """Scores (`metrics`, by default PSNR and SSIM; mPSNR under warps) and output picture (3, H, W)."""
        if sample.homography is not None:
            return measure_warp(upscaler, sample.lr, sample.hr, sample.homography, self.protocol)
        return measure_pair(upscaler, sample.lr, sample.hr, self.protocol, self.scale, queries, metrics)

    def measure_controlled(
        self, sample: Sample, upscaler: Upscaler, table: ScaleTable, above: float
    ) -> dict[str, float]:
        """Scores with CMSR, and what it saved."""
        size = tuple(sample.hr.shape[-2:])
        scale = self.scale or tuple(n / m for n, m in zip(size, sample.lr.shape[-2:], strict=True))
        report = control(upscaler, sample.lr, size, table, above)
        return {**self.protocol.measure(report.picture, sample.hr, scale), **report.figures()}


def make_tasks(config: Mapping[str, Any], arguments: Any) -> Iterator[Task]:
    """What a config asks to measure: our `datasets` x `scales`, or the authors' single `test_dataset` with
    `eval_type`."""
    if "test_dataset" in config:
        if "datasets" in config or arguments.scales:
            raise InputError(f"{arguments.config}: a test_dataset stands alone, without 'datasets' and --scales")
        protocol, scale = parse_eval_type(config.get("eval_type"))
        samples = datasets.make_wrapped(config["test_dataset"], "test_dataset")
        made = config["test_dataset"]["dataset"]["name"] != "paired-image-folders"
        lr_source = PILLOW_LR if made else "from files"
        yield Task(samples.path(0).resolve().parent.name, scale and (scale, scale), lr_source, samples, protocol)
        return
    protocol = find_protocol(config.get("protocol"))
    scales = arguments.scales or [parse_scale(scale) for scale in config.get("scales") or ()]
    warps = config.get("warps") or ()
    if not (scales or warps) or not config.get("datasets"):
        raise InputError(f"{arguments.config}: needs at least one of 'datasets' and one of 'scales' or 'warps'")
    for name, spec in config["datasets"].items():
        check(f"{arguments.config}: the name of a data set", name, FOLDER_NAME)
        check_types(spec, SET_KINDS, f"datasets.{name}")
        check_keys(spec, SET_KINDS, f"datasets.{name}")
        for scale in scales:
            yield make_task(name, spec, scale, protocol)
        for warp in warps:
            yield make_warp_task(name, spec, warp, protocol)


def make_task(name: str, spec: Mapping[str, Any], scale: Scale, protocol: Protocol) -> Task:
    """A data set `{hr: folders, lr: folder patterns, first_k}` at one scale, {scale} or {height}x{width} in the
    patterns."""
    arguments = {"first_k": spec.get("first_k")}
    hr = require(spec, "hr", f"datasets.{name}")
    if spec.get("lr"):
        height, width = map(plain_number, scale)
        lr = find_pattern(
            spec, "lr", name, scale=height if height == width else scale_text(scale), height=height, width=width
        )
        pairs = {"name": "paired-image-folders", "args": {"root_path_1": lr, "root_path_2": hr, **arguments}}
        wrapper = {"name": "sr-implicit-paired", "args": {"scale": list(scale)}}
        return Task(name, scale, f"from {lr}", wrap(pairs, wrapper), protocol)
    pictures = {"name": "image-folder", "args": {"root_path": hr, **arguments}}
    downsampled = {"name": "sr-implicit-downsampled", "args": {"scale_min": list(scale)}}
    return Task(name, scale, PILLOW_LR, wrap(pictures, downsampled), protocol)


def make_warp_task(name: str, spec: Mapping[str, Any], warp: str, protocol: Protocol) -> Task:
    """A data set `{hr: folders, warp: folder patterns with {warp}, first_k}` under one kind of warp."""
    hr = require(spec, "hr", f"datasets.{name}")
    require(spec, "warp", f"datasets.{name}")
    lr = find_pattern(spec, "warp", name, warp=warp)
    samples = WarpedImageFolders(lr, hr, spec.get("first_k"))
    return Task(name, None, f"and homographies from {lr}", samples, protocol, warp)


def find_pattern(spec: Mapping[str, Any], key: str, name: str, **values: Any) -> Path:
    """The first folder that exists of the patterns `spec[key]`, with `values` filled in."""
    patterns = [spec[key]] if isinstance(spec[key], str) else spec[key]
    try:
        folders = [str(pattern).format(**values) for pattern in patterns]
    except (KeyError, IndexError, ValueError, AttributeError, TypeError):
        allowed = ", ".join(f"{{{value}}}" for value in values)
        raise InputError(f"datasets.{name}: {key} '{patterns[0]}' may hold only {allowed} in braces") from None
    return find_folder(folders)


def wrap(dataset: Mapping[str, Any], wrapper: Mapping[str, Any]) -> ImplicitDataset:
    return datasets.make_wrapped({"dataset": dataset, "wrapper": wrapper}, "datasets")
