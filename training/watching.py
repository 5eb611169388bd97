"""What can be seen of a training while it runs: how fast it is, and the history of its epochs."""

import csv
import io
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from utils.errors import InputError
from utils.files import atomic_file

Item = TypeVar("Item")

HISTORY = "history.csv"
COLUMNS = (
    "epoch", "step", "lr", "loss", "psnr", "ssim", "lpips", "gradient_norm", "samples_per_second", "waiting_share",
    "seconds", "time",
)  # fmt: skip
# Of log.txt, for runs from before there was a history.
LOG_LINE = re.compile(
    r"epoch (?P<epoch>\d+)/\d+ step (?P<step>\d+): lr (?P<lr>[\d.e+-]+), loss (?P<loss>[\d.e+-]+)"
    r"(, val PSNR (?P<psnr>-?[\d.]+) dB)?(, (?P<seconds>\d+) s)?"
)


class Meter:
    """How an epoch went in this process, from its start or from where the run was taken up."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.steps = 0
        self.waited = 0.0
        self.trained = 0.0  # seconds, without validation
        self.norms: list[float] = []

    def waiting(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The batches; the seconds until each is there are counted."""
        iterator = iter(batches)
        while True:
            asked = time.monotonic()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self.waited += time.monotonic() - asked
            yield batch

    def add(self, norm: float) -> None:
        """Count a step with that norm of its gradients."""
        self.steps += 1
        self.trained = time.monotonic() - self.started
        if math.isfinite(norm):  # else the scaler of float16 has left the step out
            self.norms.append(norm)

    def figures(self, batch_size: int) -> dict[str, float]:
        """Of all processes together: samples a second, the share of the time spent waiting for data, and the mean norm
        of the gradients; nothing without a step."""
        if not self.steps or not self.trained:
            return {}
        norm = {"gradient_norm": sum(self.norms) / len(self.norms)} if self.norms else {}
        return {
            **norm,
            "samples_per_second": self.steps * batch_size / self.trained,
            "waiting_share": self.waited / self.trained,
        }

    def left(self, steps: int) -> str | None:
        """How long so many more steps take, at the pace of this epoch and with its validation."""
        if not self.steps:
            return None
        return duration((time.monotonic() - self.started) / self.steps * steps)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `4 days 2 h`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


def add_to_history(folder: Path, row: Mapping[str, Any]) -> list[dict[str, float]]:
    """Add an epoch to the history of the run in `folder`, in the place of what it holds from that step on: the
    history."""
    rows = [earlier for earlier in read_history(folder) if earlier["step"] < row["step"]] + [dict(row)]
    text = io.StringIO()
    columns = dict.fromkeys((*COLUMNS, *(key for earlier in rows for key in earlier)))  # other scores come last
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{value:.8g}" for key, value in earlier.items()} for earlier in rows)
    with atomic_file(folder / HISTORY) as temporary:
        temporary.write_text(text.getvalue())
    return rows


def read_history(folder: Path) -> list[dict[str, float]]:
    """The epochs of a run, from its history, or of an older one from its log; what was not measured is left out.
    InputError when the history is damaged."""
    path, log = folder / HISTORY, folder / "log.txt"
    if path.is_file():
        try:
            rows = list(csv.DictReader(path.read_text().splitlines()))
            return [{key: float(value) for key, value in row.items() if value} for row in rows if float(row["step"])]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path} is damaged; delete it, its figures are in log.txt, too") from None
    if not log.is_file():
        return []
    found = [match.groupdict() for match in LOG_LINE.finditer(log.read_text(errors="replace"))]
    by_step = {row["step"]: {key: float(value) for key, value in row.items() if value is not None} for row in found}
    return sorted(by_step.values(), key=lambda row: row["step"])
