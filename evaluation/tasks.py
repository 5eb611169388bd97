"""Tasks of a test config: data sets at scales or under warps."""

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

import datasets
from datasets.folders import MissingFolder, WarpedImageFolders, find_folder
from datasets.implicit import ImplicitDataset
from evaluation.candidates import Candidate, PictureFolder
from evaluation.measure import measure_warped, ratios, rendered, warped
from evaluation.metrics import Metric
from evaluation.protocols import Protocol, find_protocol, parse_eval_type
from evaluation.statistics import means
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
    check_of,
    check_types,
    load_config,
    overridden,
    plain_number,
    require,
    whole,
)
from utils.errors import InputError
from utils.files import from_anywhere
from utils.geometry.homographies import Homography
from utils.geometry.sizes import Scale, parse_scale, scale_text
from utils.random_state import repeatable

KINDS = {
    "protocol": TEXT, "scales": SCALES, "warps": FOLDER_NAMES, "datasets": MAPPING, "data_norm": MAPPING,
    "eval_bsize": whole(1), "test_dataset": MAPPING, "eval_type": TEXT, "metrics": check_of(Sequence[str | Mapping]),
}  # fmt: skip
SET_KINDS = {"hr": FOLDERS, "lr": FOLDERS, "warp": FOLDERS, "first_k": whole(1)}
PILLOW_LR = "made with Pillow's bicubic"
TESTS = "configs/test-lmf"
ALIASES = {"b100": "bsd100"}  # a set's names in the published folders


@dataclass(frozen=True)
class Sample:
    """One picture to measure on: the path of the HR picture, LR (3, h, w) and HR (3, H, W), both in [0, 1], and how
    the LR one was warped."""

    path: Path
    lr: Tensor
    hr: Tensor
    homography: Homography | None = None

    def hashes(self) -> dict[str, str]:
        """The beginning of the SHA-256 of the pixels of both."""
        pixels = {"lr": self.lr.contiguous(), "hr": self.hr.contiguous()}
        contents = {key: repr(tuple(each.shape)).encode() + each.numpy().tobytes() for key, each in pixels.items()}
        return {key: hashlib.sha256(content).hexdigest()[:16] for key, content in contents.items()}


@dataclass(frozen=True)
class Task:
    """One data set at one scale (None where the pictures themselves decide), or under one kind of `warp`."""

    name: str
    scale: Scale | None
    lr_source: str
    samples: ImplicitDataset | WarpedImageFolders
    protocol: Protocol
    warp: str | None = None

    @property
    def label(self) -> str:
        """`x2`, `x3x1.5`, `isc`, or nothing."""
        return self.warp or (f"x{scale_text(self.scale)}" if self.scale else "")

    def sample(self, index: int) -> Sample:
        """Picture `index`, the same each time."""
        with repeatable(index):
            if isinstance(self.samples, WarpedImageFolders):
                lr, hr, homography = self.samples[index]
                return Sample(self.samples.path(index), to_tensor(lr), to_tensor(hr), homography)
            return Sample(self.samples.path(index), *map(to_tensor, self.samples.pair(index)))

    def measure(
        self, sample: Sample, candidate: Candidate, queries: int | None, metrics: Mapping[str, Metric] | None = None
    ) -> tuple[dict[str, float], Tensor]:
        """Scores (`metrics`, by default PSNR and SSIM; mPSNR under warps) and picture (3, H, W), as a model renders it
        or a folder holds it."""
        if isinstance(candidate, PictureFolder):
            picture = candidate.picture(self.name, self.label, sample.path, tuple(sample.hr.shape[-2:]))
        elif sample.homography is not None:
            picture = warped(candidate, sample.lr, sample.hr, sample.homography)
        else:
            picture = rendered(candidate, sample.lr, sample.hr, self.scale, queries)
        if sample.homography is not None:
            return measure_warped(picture, sample.lr, sample.hr, sample.homography, self.protocol), picture
        return self.protocol.measure(picture, sample.hr, self.scale_of(sample), metrics), picture

    def mean_scores(self, upscaler: Upscaler, metrics: Mapping[str, Metric]) -> dict[str, float]:
        """Mean scores of a model over all pictures, as papers measure: without its safeguards."""
        plain, rows = replace(upscaler, safeguards=False), {}
        for index in tqdm(range(len(self.samples)), desc=f"{self.name} {self.label}", leave=False):
            rows[str(index)] = {"": self.measure(self.sample(index), plain, None, metrics)[0]}
        return means(rows)[""]

    def scale_of(self, sample: Sample) -> Scale:
        return self.scale or ratios(sample.lr, sample.hr)


def load_test_config(path: str, overrides: Sequence[str]) -> dict[str, Any]:
    """A test config, also under names of the published folders, which have a file for each set and scale.

    `test-div2k-x8.yaml`, `test-div2k-8.yaml` and `test-fast-div2k-8.yaml` are `test-div2k.yaml` at that scale, and
    `test-set14.yaml` is the set of that name in `test-benchmarks.yaml`, of the same folder or of TESTS.
    """
    named = re.fullmatch(r"test-(?:fast-)?(.+?)(?:-x?(\d+(?:\.\d+)?))?", Path(path).stem)
    if not named or from_anywhere(path).exists():
        return load_config(path, overrides)
    name, scale = named.groups()
    for folder in map(from_anywhere, (Path(path).parent, TESTS)):
        base, benchmarks = folder / f"test-{name}.yaml", folder / "test-benchmarks.yaml"
        config = load_config(base) if base.exists() else load_config(benchmarks) if benchmarks.exists() else {}
        if not base.exists():
            sets = config.get("datasets", {}).items()
            config["datasets"] = {key: spec for key, spec in sets if key.lower() == ALIASES.get(name, name)}
        if base.exists() or config["datasets"]:
            return overridden({**config, "scales": [float(scale)]} if scale else config, overrides)
    return load_config(path)  # which says that it is not there


def make_tasks(config: Mapping[str, Any], where: str, scales: Sequence[Scale] | None = None) -> list[Task]:
    """Tasks of a config, at its own scales unless others are given; InputError where a folder is missing."""
    tasks, missing = find_tasks(config, where, scales)
    if missing:
        raise missing[0]
    return tasks


def find_tasks(
    config: Mapping[str, Any], where: str, scales: Sequence[Scale] | None = None
) -> tuple[list[Task], list[MissingFolder]]:
    """Tasks of a config: our `datasets` x `scales`, or the authors' single `test_dataset` with `eval_type`;
    and, of several tasks, what is missing for those that cannot be measured. InputError when there is no task."""
    if "test_dataset" in config:
        if "datasets" in config or scales:
            raise InputError(f"{where}: a test_dataset stands alone, without 'datasets' and --scales")
        return [published_task(config)], []
    protocol, tasks, missing = find_protocol(config.get("protocol")), [], []
    scales = scales or [parse_scale(scale) for scale in config.get("scales") or ()]
    warps = config.get("warps") or ()
    if not (scales or warps) or not config.get("datasets"):
        raise InputError(f"{where}: needs at least one of 'datasets' and one of 'scales' or 'warps'")
    for name, spec in config["datasets"].items():
        check(f"{where}: the name of a data set", name, FOLDER_NAME)
        check_types(spec, SET_KINDS, f"datasets.{name}")
        check_keys(spec, SET_KINDS, f"datasets.{name}")
        makers = [partial(make_task, name, spec, scale, protocol) for scale in scales]
        for make in (*makers, *(partial(make_warp_task, name, spec, warp, protocol) for warp in warps)):
            try:
                tasks.append(make())
            except MissingFolder as error:
                missing.append(MissingFolder(f"{name}: {error}"))
    if not tasks:
        raise missing[0]
    return tasks, missing


def published_task(config: Mapping[str, Any]) -> Task:
    """The `test_dataset` of LIIF's, LTE's and LMF's files, under the name of its folder of HR pictures."""
    protocol, scale = parse_eval_type(config.get("eval_type"))
    samples = datasets.make_wrapped(config["test_dataset"], "test_dataset")
    made = config["test_dataset"]["dataset"]["name"] != "paired-image-folders"
    folder = samples.path(0).resolve().parent
    name = folder.parent.name if folder.name == "HR" else folder.name
    return Task(name, scale and (scale, scale), PILLOW_LR if made else "from files", samples, protocol)


def make_task(name: str, spec: Mapping[str, Any], scale: Scale, protocol: Protocol) -> Task:
    """A data set `{hr: folders, lr: folder patterns, first_k}` at one scale, {scale} or {height}x{width} in the
    patterns."""
    arguments = {"first_k": spec.get("first_k")}
    hr = require(spec, "hr", f"datasets.{name}")
    if spec.get("lr"):
        height, width = map(plain_number, scale)
        values = {"scale": height if height == width else scale_text(scale), "height": height, "width": width}
        lr, hr = of_one_place(filled(spec, "lr", name, **values), hr)
        pairs = {"name": "paired-image-folders", "args": {"root_path_1": lr, "root_path_2": hr, **arguments}}
        wrapper = {"name": "sr-implicit-paired", "args": {"scale": list(scale)}}
        samples = datasets.make_wrapped({"dataset": pairs, "wrapper": wrapper}, name)
        return Task(name, scale, f"from {lr}", samples, protocol)
    pictures = {"name": "image-folder", "args": {"root_path": hr, **arguments}}
    downsampled = {"name": "sr-implicit-downsampled", "args": {"scale_min": list(scale)}}
    samples = datasets.make_wrapped({"dataset": pictures, "wrapper": downsampled}, name)
    return Task(name, scale, PILLOW_LR, samples, protocol)


def of_one_place(lr: Sequence[str], hr: str | Path | Sequence[str | Path]) -> tuple[Path, Path]:
    """The first LR folder, and the first HR folder, that are there: below one folder, if any has both."""
    candidates = [hr] if isinstance(hr, str | Path) else hr
    for of_lr, of_hr in itertools.product(map(Path, lr), map(Path, candidates)):
        if of_lr.is_dir() and of_hr.is_dir() and of_hr.parent in of_lr.parents:
            return of_lr, of_hr
    return find_folder(lr), find_folder(hr)


def make_warp_task(name: str, spec: Mapping[str, Any], warp: str, protocol: Protocol) -> Task:
    """A data set `{hr: folders, warp: folder patterns with {warp}, first_k}` under one kind of warp."""
    hr = require(spec, "hr", f"datasets.{name}")
    require(spec, "warp", f"datasets.{name}")
    lr = find_folder(filled(spec, "warp", name, warp=warp))
    samples = WarpedImageFolders(lr, hr, spec.get("first_k"))
    return Task(name, None, f"and homographies from {lr}", samples, protocol, warp)


def filled(spec: Mapping[str, Any], key: str, name: str, **values: Any) -> list[str]:
    """The patterns `spec[key]` with `values` filled in."""
    patterns = [spec[key]] if isinstance(spec[key], str) else spec[key]
    try:
        return [str(pattern).format(**values) for pattern in patterns]
    except (KeyError, IndexError, ValueError, AttributeError, TypeError):
        allowed = ", ".join(f"{{{value}}}" for value in values)
        raise InputError(f"datasets.{name}: {key} '{patterns[0]}' may hold only {allowed} in braces") from None
