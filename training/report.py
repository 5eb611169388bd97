"""Reports of a training: speed, history.csv, curves.csv, plot.png, validation.png, TensorBoard and other loggers."""

import csv
import importlib
import importlib.util
import io
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image, ImageDraw, ImageFont
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import image, scalar
from torch import Tensor, nn
from torch.nn.functional import pad

import models
from datasets.implicit import ImplicitDataset
from evaluation.measure import measure_pair
from evaluation.protocols import find_protocol
from models.layers.mlp import LMMLP
from models.native import backends
from models.upscaler import Upscaler
from pictures.tensors import to_tensor
from utils.errors import InputError
from utils.files import atomic_file, writing
from utils.random_state import repeatable

Item = TypeVar("Item")

HISTORY, CURVES, PLOT = "history.csv", "curves.csv", "plot.png"
COLUMNS = (
    "epoch", "step", "lr", "loss", "psnr", "psnr_item", "ssim", "lpips", "gradient_norm", "dead_units",
    "samples_per_second", "waiting_share", "seconds", "time",
)  # fmt: skip
CURVE_COLUMNS = ("step", "lr", "loss", "gradient_norm")


class Meter:
    """Speed of an epoch in this process, from its start or from where the run was resumed."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.steps = 0
        self.waited = 0.0
        self.trained = 0.0  # seconds, without validation
        self.norms: list[float] = []

    def waiting(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The batches; counts the seconds until each is there."""
        iterator = iter(batches)
        while True:
            asked = time.monotonic()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self.waited += time.monotonic() - asked
            yield batch

    def add(self, norms: Sequence[float]) -> None:
        """Count steps by the norms of their gradients."""
        self.steps += len(norms)
        self.trained = time.monotonic() - self.started
        self.norms += [norm for norm in norms if math.isfinite(norm)]  # the scaler of float16 leaves out the others

    def figures(self, batch_size: int) -> dict[str, float]:
        """Mean norm of the gradients, samples a second and the share of the time spent waiting for data; nothing
        without a step."""
        if not self.steps or not self.trained:
            return {}
        norm = {"gradient_norm": sum(self.norms) / len(self.norms)} if self.norms else {}
        return {
            **norm,
            "samples_per_second": self.steps * batch_size / self.trained,
            "waiting_share": self.waited / self.trained,
        }

    def left(self, steps: int) -> str | None:
        """Duration of so many more steps at the pace of this epoch, validation included."""
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
    """Add an epoch to the history of the run in `folder`, in place of those from its step on; the whole history."""
    rows = [earlier for earlier in read_rows(folder / HISTORY) if earlier["step"] < row["step"]] + [dict(row)]
    _write_rows(folder / HISTORY, rows, COLUMNS)
    return rows


def dead_units(model: nn.Module, make_example: Callable[[], Sequence[Tensor]]) -> float | None:
    """Share of the hidden units of a model's render MLPs that are zero at all positions of an example of its input;
    None for a model without one."""
    linears = [layer for mlp in model.modules() if isinstance(mlp, LMMLP) for layer in mlp.layers[2::2]]
    if not linears:
        return None
    alive: list[Tensor] = []

    def watch(_: nn.Module, given: tuple[Tensor]) -> None:
        alive.append((given[0] > 0).flatten(0, -2).any(0))

    hooks = [layer.register_forward_pre_hook(watch) for layer in linears]
    try:
        with torch.inference_mode(), backends.using("torch"):
            model(*make_example())
    finally:
        for hook in hooks:
            hook.remove()
    return 1 - torch.cat(alive).float().mean().item()


def cut_curves(folder: Path, step: int) -> None:
    """Leave out of the curves of a run what comes after `step`, from which it is resumed, half a line of a killed
    process included."""
    path = folder / CURVES
    if path.exists():
        head, *lines = path.read_text(errors="replace").splitlines(keepends=True) or [""]
        whole = [line for line in lines if line.endswith("\n") and line.split(",")[0].isdecimal()]
        with atomic_file(path) as temporary:
            temporary.write_text("".join([head, *(line for line in whole if int(line.split(",")[0]) <= step)]))


def add_to_curves(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Append steps to the curves of the run in `folder`."""
    if not (folder / CURVES).exists():
        _write_rows(folder / CURVES, [], CURVE_COLUMNS)
    with writing(folder / CURVES), open(folder / CURVES, "a") as file:
        file.writelines(",".join(_text(row[column]) for column in CURVE_COLUMNS) + "\n" for row in rows)


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, dict.fromkeys((*columns, *(key for row in rows for key in row))), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _text(value) for key, value in row.items()} for row in rows)
    with atomic_file(path) as temporary:
        temporary.write_text(text.getvalue())


def _text(value: float) -> str:
    """Eight digits, and whole numbers such as times in seconds without loss."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:.8g}"


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a table of figures by step; none where there is no file. InputError when it is damaged."""
    if not path.is_file():
        return []
    try:
        rows = list(csv.DictReader(path.read_text().splitlines()))
        return [{key: float(value) for key, value in row.items() if value} for row in rows if float(row["step"])]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is damaged; delete it, its figures are in log.txt, too") from None


WIDTH, HEIGHT, MARGIN = 800, 300, 36  # of each panel of plot.png, in pixels
PANELS = {"loss": "training loss", "psnr": "validation PSNR, dB"}


def plot_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Draw the `history` of a run to plot.png in its folder, a panel for each of PANELS that it has: the curve in a
    frame from the first epoch to the last and from the smallest value to the largest, which stand above it."""
    curves = {
        key: [(row["epoch"], row[key]) for row in history if math.isfinite(row.get(key, math.nan))] for key in PANELS
    }
    curves = {key: points for key, points in curves.items() if points}
    picture = Image.new("RGB", (WIDTH, HEIGHT * max(1, len(curves))), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(16)
    for number, (key, points) in enumerate(curves.items()):
        (first, last), (low, high) = ((min(numbers), max(numbers)) for numbers in zip(*points, strict=True))
        top, bottom, right = number * HEIGHT + MARGIN, (number + 1) * HEIGHT - MARGIN, WIDTH - MARGIN
        places = [
            (
                MARGIN + (right - MARGIN) * (epoch - first) / max(1, last - first),
                bottom - (bottom - top) * ((value - low) / (high - low) if high > low else 0.5),
            )
            for epoch, value in points
        ]
        ranges = f"{low:.6g} to {high:.6g}, now {points[-1][1]:.6g}, in epochs {first:g} to {last:g}"
        draw.text((MARGIN, top - 6), f"{PANELS[key]}: {ranges}", "black", font, anchor="ls")
        draw.rectangle((MARGIN, top, right, bottom), outline="lightgrey")
        draw.line(places, "steelblue", 2, joint="curve")
        draw.circle(places[-1], 4, "steelblue")
    with atomic_file(folder / PLOT) as temporary:
        picture.save(temporary, "PNG")


STRIP_ITEMS, STRIP_SIDE, STRIP_GAP = 3, 256, 2


def validation_strip(upscaler: Upscaler, samples: ImplicitDataset) -> torch.Tensor:
    """(3, H, W) in [0, 1]: a row for each of the first validation items, always the same parts of them: input
    (nearest), output, target."""
    nearest = Upscaler(models.make({"name": "nearest"}))
    rows = []
    for index in range(min(STRIP_ITEMS, len(samples))):
        with repeatable(index):
            lr, hr = map(to_tensor, samples.pair(index))
        pictures = [measure_pair(u, lr, hr, find_protocol("rgb"))[1] for u in (nearest, upscaler)]
        rows.append(torch.cat([_centre(picture) for picture in (*pictures, hr)], dim=2))
    width = max(row.shape[2] for row in rows)
    return torch.cat([pad(row, (0, width - row.shape[2], 0, STRIP_GAP), value=1.0) for row in rows], dim=1)


def _centre(picture: torch.Tensor) -> torch.Tensor:
    """The middle of a (3, H, W) picture, at most STRIP_SIDE a side, with a white gap at its right."""
    for axis in (1, 2):
        side = picture.shape[axis]
        picture = picture.narrow(axis, max(0, side - STRIP_SIDE) // 2, min(side, STRIP_SIDE))
    return pad(picture, (0, STRIP_GAP), value=1.0)


LOGGERS = ("wandb", "mlflow")


def check_logger(name: str | None) -> None:
    """InputError when the package of an experiment tracker is not installed."""
    if name is not None and importlib.util.find_spec(name) is None:
        raise InputError(f"logger: {name} is not installed; pip install {name}, or set logger: null")


def make_logger(name: str | None, folder: Path, config: Mapping[str, Any]) -> Callable[[Mapping[str, float], int], Any]:
    """A function that sends (scalars, step) to the experiment tracker `name`, or nowhere for None. A resumed run
    continues wandb's run of the same name."""
    if name is None:
        return lambda scalars, step: None
    tracker = importlib.import_module(name)
    if name == "wandb":
        tracker.init(project="continua", name=folder.name, id=folder.name, resume="allow", config=dict(config))
        return lambda scalars, step: tracker.log(dict(scalars), step=step)
    tracker.set_experiment("continua")
    tracker.start_run(run_name=folder.name)
    return lambda scalars, step: tracker.log_metrics(dict(scalars), step=step)


class EventLog:
    """TensorBoard events of a run, written synchronously: SummaryWriter's thread hangs when the disk is full."""

    def __init__(self, folder: Path):
        self.folder = folder
        with writing(folder):
            folder.mkdir(exist_ok=True)
            self.writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")

    def add(self, step: int, scalars: Mapping[str, float], pictures: Mapping[str, Tensor] | None = None) -> None:
        """Numbers and (3, H, W) pictures in [0, 1] of a step, under their names."""
        entries = [scalar(name, value) for name, value in scalars.items()]
        entries += [image(name, picture.numpy()) for name, picture in (pictures or {}).items()]
        with writing(self.folder):
            for entry in entries:
                self.writer.write_event(Event(wall_time=time.time(), step=step, summary=entry))
            self.writer.flush()
