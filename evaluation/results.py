"""The file of results: on disk after every picture, with what is needed to measure the same again and compare."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.report import summary
from evaluation.tasks import Task
from utils.config import MAPPING, NUMBER, TEXT, TEXTS, ScaleLike, check, check_of, check_types, require
from utils.files import atomic_file, read_json
from utils.geometry.sizes import parse_scale, scale_text
from utils.processes import is_first

TIMES = ("decoder_seconds", "decoder_seconds_full")
TOLERANCE = 1e-4  # of a score: other processors and numbers of threads sum in another order
KINDS = {
    "command": TEXTS, "config": TEXT, "config_content": MAPPING, "models": MAPPING,
    "results": check_of(Sequence[Mapping[str, Any]]),
}  # fmt: skip
TASK_KINDS = {
    "dataset": TEXT, "scale": check_of(ScaleLike | None), "warp": check_of(str | None), "pictures": MAPPING,
    "hashes": MAPPING,
}  # fmt: skip


@dataclass
class Results:
    """What a run measures, with what is `about` it: in the file at `path`, if any, after every picture. Of several
    processes the first one writes."""

    path: Path | None
    about: Mapping[str, Any]
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
            self.tasks.append({})
        self.tasks[-1] = {**summary(task, rows), "hashes": dict(hashes)}
        name, row = list(rows.items())[-1]
        for label, scores in row.items():
            nan = [metric for metric, value in scores.items() if math.isnan(value)]
            self.not_numbers += [f"{task.name} {task.label} {name}: {metric} of {label}" for metric in nan]
        self.write()

    def finish(self) -> None:
        self.complete = True
        self.write()


def read_results(path: str | Path) -> dict[str, Any]:
    """A file of results from which the same can be measured again; InputError for anything else."""
    content = read_json(path, "file of results")
    check_types(content, KINDS, str(path))
    for key in KINDS:
        require(content, key, f"{path} is no file of results to repeat")
    for label, about in content["models"].items():
        check(f"{path}: models.{label}", about, MAPPING)
    for task in content["results"]:
        check_types(task, TASK_KINDS, f"{path}: results")
        for place, row in _places({"results": [task]}, "pictures").items():
            check(f"{path}: {place}", row, MAPPING)
            for label, scores in row.items():
                check_types(scores, {}, f"{path}: {place} {label}")
                for metric, value in scores.items():
                    check(f"{path}: {place} {label} {metric}", value, NUMBER, optional=True)
    return content


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[str], int]:
    """What two contents of result files do not share, a line each, and how many scores were compared."""
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
