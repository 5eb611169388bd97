"""Training items whose targets a teacher has made ahead (`python -m datasets.teach`)."""

import hashlib
import itertools
import json
import random
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from datasets.folders import PairedImageFolders, find_folder
from datasets.implicit import ImplicitDataset, random_corner
from datasets.wrappers import Downsampled, crop_sizes
from pictures.tensors import resize_bicubic
from utils.config import Check, between, check, check_keys, require
from utils.errors import InputError
from utils.files import read_json
from utils.geometry.grids import Size

MANIFEST = "teacher.json"
KINDS = ("lr", "hr")


class Taught(ImplicitDataset):
    """The items of `samples`, of which a share has a teacher's picture as target, and LR pictures that it has seen.

    `folder` holds what `datasets.teach` has made. `share`: a number from 0 to 1, or `{first, last, until}`, which goes
    evenly from `first` to `last` while the part `until` (1) of all steps is done: a function of the step. Scales are
    drawn as for other items, up to the teacher's, whose picture is reduced by bicubic. `cache` as in `PictureFiles`.
    InputError for a folder that is
    not complete or has changed.
    """

    def __init__(self, samples: Downsampled, folder: Path, share: float | Mapping[str, float] = 1, cache: str = "none"):
        if not isinstance(samples, Downsampled) or samples.inp_size is None:
            raise InputError("teacher: needs the crops of sr-implicit-downsampled; set its inp_size")
        super().__init__(**{each.name: getattr(samples, each.name) for each in fields(ImplicitDataset)})
        self.samples, self.inp_size, self.scales = samples, samples.inp_size, samples.scales
        manifest = read_manifest(folder)
        self.hash, self.times = targets_hash(folder, manifest), manifest["times"]
        self.pairs = [
            PairedImageFolders(folder / scale / "lr", folder / scale / "hr", cache=cache)
            for scale in sorted(manifest["scales"])
        ]
        self.first, self.last, self.until = _schedule(share)
        self.steps, self.share = 1, self.first

    @classmethod
    def of(cls, samples: ImplicitDataset, settings: Mapping[str, Any]) -> "Taught":
        """From the `teacher` of a config: `{folder, share, cache, hash}`."""
        check_keys(settings, ("folder", "share", "cache", "hash"), "teacher")
        folder = find_folder(require(settings, "folder", "teacher"))
        taught = cls(samples, folder, settings.get("share", 1), settings.get("cache", "none"))
        if settings.get("hash") not in (None, taught.hash):
            raise InputError(f"teacher: {settings['folder']} has other targets than teacher.hash says; restore it")
        return taught

    def begin(self, steps: int) -> None:
        """Say how many steps the training has in all."""
        self.steps = steps

    def at_step(self, step: int) -> None:
        """Let the share of taught items be that of a step, from 0."""
        progress = min(1.0, step / (self.until * self.steps))
        self.share = self.first + (self.last - self.first) * progress

    def path(self, index: int) -> Path:
        return self.samples.path(index)

    def possible_sizes(self) -> set[tuple[Size, Size]]:
        return self.samples.possible_sizes()

    def needs(self) -> list[tuple[list[Path], Size]]:
        side = (self.inp_size, self.inp_size)
        return [*self.samples.needs(), *((pairs.lr.files(), side) for pairs in self.pairs)]

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if random.random() >= self.share:
            return self.samples.pair(index)
        pairs = random.choice(self.pairs)
        number = random.randrange(len(pairs))
        lr, hr = pairs[number]
        largest = min(self.times, self.scales[1])
        lr_size, size = crop_sizes(self.inp_size, random.uniform(min(self.scales[0], largest), largest))
        y, x = random_corner(lr.shape[:2], lr_size, pairs.lr_path(number))
        lr = lr[y : y + lr_size[0], x : x + lr_size[1]]
        (top, left), (height, width) = ((n * self.times for n in place) for place in ((y, x), lr_size))
        return lr, resize_bicubic(hr[top : top + height, left : left + width], size)


def _schedule(share: float | Mapping[str, float]) -> tuple[float, float, float]:
    """(first, last, until) of a share."""
    if not isinstance(share, Mapping):
        check("teacher.share", share, Check("a number from 0 to 1 or a mapping", between(0, 1).fits))
        return share, share, 1.0
    check_keys(share, ("first", "last", "until"), "teacher.share")
    numbers = {"first": 1, "last": 0, "until": 1, **share}
    for name, number in numbers.items():
        check(f"teacher.share.{name}", number, between(1e-9 if name == "until" else 0, 1))
    return tuple(numbers.values())


def read_manifest(folder: Path) -> dict[str, Any]:
    """`{teacher, times, scales: {x4: {name: {source, lr, hr}}}}`, of which `teacher`, `source`, `lr` and `hr` are
    SHA-256; InputError where there is none."""
    manifest = read_json(folder / MANIFEST, "list of targets")
    try:
        entries = [entry for pictures in manifest["scales"].values() for entry in pictures.values()]
        whole = all({"source", *KINDS} <= entry.keys() for entry in entries)
        if whole and isinstance(manifest["teacher"], str) and isinstance(manifest["times"], int):
            return manifest
    except (KeyError, TypeError, AttributeError):
        pass
    raise InputError(f"{folder / MANIFEST} is damaged; run python -m datasets.teach again")


def targets_hash(folder: Path, manifest: Mapping[str, Any]) -> str:
    """SHA-256 of all that a manifest says; InputError for a file that is missing, or not the one it lists."""
    if not any(manifest["scales"].values()):
        raise InputError(f"{folder} holds no targets; make them with python -m datasets.teach")
    for scale, pictures in manifest["scales"].items():
        for name, kind in itertools.product(pictures, KINDS):
            path = folder / scale / kind / f"{name}.png"
            if not same(path, pictures[name][kind]):
                raise InputError(f"{path} is not what datasets.teach has made; run it again")
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def same(path: Path, digest: str) -> bool:
    """Whether there is a file with this SHA-256."""
    return path.is_file() and sha256(path) == digest
