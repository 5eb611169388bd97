"""The file of results: on disk after every picture, with what is needed to measure the same again and compare."""

import json
import math
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL
import torch

from evaluation.candidates import Candidate
from evaluation.metrics import Metric
from evaluation.statistics import Estimate, Rows, differences, estimates, exact_pictures, means
from evaluation.tasks import Task
from models.cmsr.tables import ScaleTable
from models.native import backends
from models.registry import weights_hash
from models.upscaler import Upscaler
from utils.config import MAPPING, NUMBER, TEXT, TEXTS, check_of, check_types, require
from utils.errors import InputError
from utils.files import atomic_file, check_target, read_json
from utils.geometry.sizes import parse_scale, scale_text
from utils.processes import is_first

TIMES = ("decoder_seconds", "decoder_seconds_full")
TOLERANCE = 1e-4  # of a score: other processors and numbers of threads sum in another order
KINDS = {
    "command": TEXTS, "config": TEXT, "config_content": MAPPING, "models": MAPPING,
    "results": check_of(Sequence[Mapping[str, Any]]),
}  # fmt: skip


@dataclass
class Results:
    """Scores of a run, and what is `about` it: in the file at `path`, if any, after every picture."""

    path: Path | None
    about: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    measured: list[tuple[Task, Rows]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    not_numbers: list[str] = field(default_factory=list)
    complete: bool = False

    def content(self) -> dict[str, Any]:
        return {"complete": self.complete, **self.about, "results": self.tasks}

    def write(self) -> None:
        if self.path is not None and is_first():
            with atomic_file(self.path) as temporary:
                temporary.write_text(json.dumps(self.content(), indent=1))

    def add(self, task: Task, rows: Mapping[str, Any], hashes: Mapping[str, Any]) -> None:
        """Take the scores of a task's pictures so far; the last of them is new."""
        if len(rows) == 1:
            self.measured.append((task, rows))
            self.tasks.append({})
        self.tasks[-1] = {**summary(task, rows, list(self.metrics)), "hashes": dict(hashes)}
        name, row = list(rows.items())[-1]
        for label, scores in row.items():
            nan = [metric for metric, value in scores.items() if math.isnan(value)]
            self.not_numbers += [f"{task.name} {task.label} {name}: {metric} of {label}" for metric in nan]
        self.write()


def results_path(arguments: Any, command: Sequence[str]) -> Path:
    """The results file: `--json`, or save/results/CONFIG.json, or, where that holds another call's, a new name beside
    it. InputError for a `--json` that holds another call's, without `--overwrite`."""
    named = Path(arguments.json or f"save/results/{Path(arguments.config).stem}.json")
    path, number = check_target(named), 2

    def is_ours() -> bool:
        try:
            return read_json(path, "file of results")["command"] == list(command)
        except (InputError, LookupError, TypeError):
            return False

    while path.exists() and not arguments.overwrite and not is_ours():
        if arguments.json:
            raise InputError(f"{path} holds other results; name another --json, or --overwrite it")
        path, number = named.with_stem(f"{named.stem}-{number}"), number + 1
    return path


def read_results(path: str | Path) -> dict[str, Any]:
    """A file of results from which the same can be measured again; InputError for anything else."""
    content = read_json(path, "file of results")
    check_types(content, KINDS, str(path))
    for key in KINDS:
        require(content, key, f"{path} is no file of results to repeat")
    try:
        changes(content, content)
        whole = all(value is None or NUMBER.fits(value) for value in _scores(content).values())
    except (AttributeError, TypeError, ValueError):
        whole = False
    if not whole:
        raise InputError(f"{path} is damaged: its results are not what test.py writes; measure again")
    return content


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[str], int]:
    """Differences of two results files, a line each, and the number of scores compared."""
    lines = []
    for label in {**before["models"], **after["models"]}:
        old, new = (content["models"].get(label, {}).get("weights_hash") for content in (before, after))
        if old != new:
            lines.append(f"{label}: other weights, {new} instead of {old}")
    old, new = (_places(content, "hashes") for content in (before, after))
    lines += [f"{place}: another picture" for place in old if place in new and old[place] != new[place]]
    old, new = (_scores(content) for content in (before, after))
    for place in {**old, **new}:
        one, other = old.get(place), new.get(place)
        if place not in old or place not in new:
            lines.append(f"{place}: measured only {'before' if place in old else 'now'}")
        elif one != other and (one is None or other is None or abs(one - other) > TOLERANCE):
            lines.append(f"{place}: {other} instead of {one}")
    return lines, len(old)


def _places(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Entries of `key` in each task's results, by data set, scale or warp, and picture."""
    return {
        f"{task.get('dataset')} {label_of(task)} {picture}": entry
        for task in content["results"]
        for picture, entry in (task.get(key) or {}).items()
    }


def label_of(task: Mapping[str, Any]) -> str:
    """`x2`, `isc`, or nothing, as `Task.label`."""
    return task.get("warp") or (f"x{scale_text(parse_scale(task['scale']))}" if task.get("scale") else "")


def _scores(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{place} {label} {metric}": value
        for place, row in _places(content, "pictures").items()
        for label, scores in row.items()
        for metric, value in scores.items()
        if metric not in TIMES
    }


def summary(task: Task, rows: Rows, metrics: Sequence[str]) -> dict[str, Any]:
    """A task's results for the JSON file; values that are no finite number become null."""
    names = ["mpsnr"] if task.warp else metrics

    def finite(value: Any) -> Any:
        if isinstance(value, Estimate):
            value = value._asdict()
        if isinstance(value, Mapping):
            return {key: finite(entry) for key, entry in value.items()}
        return value if value is not None and math.isfinite(value) else None

    return {
        "dataset": task.name,
        "scale": task.scale and (task.scale[0] if task.scale[0] == task.scale[1] else task.scale),
        "warp": task.warp,
        "protocol": task.protocol.name,
        "protocol_description": task.protocol.warp_description if task.warp else task.protocol.description,
        "quantised": task.protocol.quantised,
        "lr_source": task.lr_source,
        "pictures": finite(rows),
        "exact": exact_pictures(rows),
        "mean": finite(means(rows)),
        "interval": finite(estimates(rows, names)),
        "difference": finite(differences(rows, names)),
    }


def describe(candidates: Mapping[str, Candidate], paths: Sequence[str]) -> dict[str, Any]:
    """Each label of the results: path, class, hash of the weights, normalisation, backend on a CPU, precision of the
    encoder, and whether the product's safeguards are on."""
    about: dict[str, Any] = {}
    for (label, candidate), path in zip(candidates.items(), paths, strict=True):
        about[label] = {"path": path, "class": type(candidate).__name__}
        if isinstance(candidate, Upscaler):
            library = candidate.model.native_library
            native = library and candidate.device.type == "cpu" and candidate.backend != "torch"
            about[label] |= {
                "class": type(candidate.model).__name__,
                "weights_hash": weights_hash(candidate.model),
                "data_norm": candidate.normalization.to_config(),
                "backend": "native" if native and backends.library(library) else "torch",
                "precision": candidate.precision,
                "safeguards": candidate.safeguards,
            }
    return about


def describe_tables(tables: Mapping[str, ScaleTable]) -> dict[str, Any]:
    """The scale2mod table of each label that has one."""
    return {
        label: {
            **table.about,
            "scale2mod": {f"{t:g}": {f"{v.scale:g}": v.threshold for v in vs} for t, vs in table.levels.items()},
        }
        for label, table in tables.items()
    }


def environment(device: torch.device) -> dict[str, Any]:
    """Device, versions, threads and commit, on which results depend beside their settings."""
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}, Pillow {PIL.__version__}"
    threads = torch.get_num_threads()
    return {"device": str(device), "versions": versions, "threads": threads, "commit": commit()}


def commit() -> str | None:
    """The commit of the project, with `-dirty` where files differ from it; None where git does not know."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
