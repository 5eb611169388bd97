"""Models side by side: scores, times, memory and size on disk, as one table and one plot of quality against time."""

import multiprocessing
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evaluation.report import means
from evaluation.tasks import Task, make_tasks
from models.upscaler import Upscaler
from models.zoo import resolve
from pictures.reading import read_rgb
from pictures.tensors import resize_bicubic, to_tensor
from tools.bench.docs_table import replace_between_marks
from tools.bench.measures import in_turn, load, peak_memory, short_name
from utils.config import load_config
from utils.geometry.sizes import Scale, Size, parse_scale

BEGIN, END = "<!-- models: made by `python -m tools.bench compare` -->", "<!-- end of models -->"
SETS = {
    "Set5": (("configs/test-lmf/test-set5-files.yaml", (2, 3, 4)), ("configs/test-lmf/test-set5.yaml", (6, 8))),
    "samples": (("configs/test-lmf/test-samples.yaml", (2, 3, 4, 6, 8)),),
}
PUBLISHED = {  # Set5 x2, x3, x4 in the LeRF papers, 8 bits
    "LeRF-L, published": ("34.84 / 0.9432", "30.72 / 0.8773", "29.13 / 0.8270"),
    "LeRF-G, published": ("35.71 / 0.9475", "32.02 / 0.8980", "30.15 / 0.8548"),
    "LeRF-Net, published": ("36.57 / 0.9562", "33.04 / 0.9162", "31.26 / 0.8810"),
    "LeRF-Net++, published": ("38.27 / 0.9616", "34.57 / 0.9289", "32.52 / 0.8983"),
}


@dataclass(frozen=True)
class Row:
    """What is known of a model: {set: {scale: scores}}, seconds for one picture, MB at its peak, bytes on disk."""

    scores: Mapping[str, Mapping[str, Mapping[str, float]]]
    encode: float
    render: float
    peak: float
    size: int


def compare(arguments: Any) -> dict[str, Row]:
    """Measure every model on both sets, and, in turns, on one picture of the input size."""
    labels = [short_name(name) for name in arguments.models]
    # First: a process's peak is never below what the one that started it held
    peaks = {label: _peak(name, arguments) for label, name in zip(labels, arguments.models, strict=True)}
    upscalers = {label: load(name) for label, name in zip(labels, arguments.models, strict=True)}
    times = _times(upscalers, read_rgb(arguments.picture), arguments)
    rows = {}
    for label, name in zip(labels, arguments.models, strict=True):
        scores = {group: _scores(upscalers[label], parts, arguments.scales, label) for group, parts in SETS.items()}
        rows[label] = Row(scores, *times[label], peaks[label], size_on_disk(resolve(name).path))
    return rows


def _peak(name: str, arguments: Any) -> float:
    """MB beyond the imports that one picture takes in a process of its own."""
    settings = (name, "auto", arguments.input, arguments.size, arguments.threads)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        imported, peak = pool.apply(peak_memory, settings)
    return peak - imported


def _times(upscalers: Mapping[str, Upscaler], pixels: Any, arguments: Any) -> dict[str, tuple[float, float]]:
    """Smallest seconds of encoding and of rendering one picture, all models in turn."""
    picture, runs = to_tensor(resize_bicubic(pixels, arguments.input)), {}
    for label, upscaler in upscalers.items():
        latent = upscaler.encode(picture)
        runs[f"{label} encode"] = lambda u=upscaler: u.encode(picture)
        runs[f"{label} render"] = lambda u=upscaler, c=latent: u.render(c, arguments.size)
    seconds = in_turn(runs, arguments.repeats)
    return {label: (min(seconds[f"{label} encode"]), min(seconds[f"{label} render"])) for label in upscalers}


def _scores(
    upscaler: Upscaler, parts: Sequence[tuple[str, Sequence[float]]], wanted: Sequence[Scale], label: str
) -> dict[str, dict[str, float]]:
    """{scale: mean scores} of those of a set's scales that are wanted."""
    scores = {}
    for config, scales in parts:
        chosen = [scale for scale in map(parse_scale, scales) if scale in wanted]
        tasks = make_tasks(load_config(config), Namespace(config=config, scales=chosen)) if chosen else ()
        for task in tasks:
            scores[task.label] = _mean(task, upscaler, label)
    return scores


def _mean(task: Task, upscaler: Upscaler, label: str) -> dict[str, float]:
    pictures = tqdm(range(len(task.samples)), desc=f"{label} {task.name} {task.label}", leave=False, disable=None)
    return means({str(n): {label: task.measure(task.sample(n), upscaler, None)[0]} for n in pictures})[label]


def size_on_disk(path: Path | None) -> int:
    """Bytes of a checkpoint, or of all files of a folder of LUTs; 0 of a filter."""
    files = [] if path is None else path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def update_models(document: Path, rows: Mapping[str, Row], size: Size, input_size: Size) -> None:
    """Replace the text between the two marks in `document` by the table of `rows`; all or nothing."""
    replace_between_marks(document, BEGIN, END, table(rows, size, input_size))


def table(rows: Mapping[str, Row], size: Size, input_size: Size) -> str:
    """Markdown: a table for each set, with what a picture of `input_size` takes to become one of `size`."""
    costs = {
        label: [f"{row.encode:.3f}", f"{row.render:.3f}", f"{row.peak:.0f}", f"{row.size / 1e6:.2f}"]
        for label, row in rows.items()
    }
    heads = ["encode, s", "render, s", "peak, MB", "file, MB"]
    parts = [
        f"Times and peak memory beyond the imports are those of {input_size[1]}x{input_size[0]} -> {size[1]}x{size[0]}."
    ]
    for group in SETS:
        scales = list(next(iter(rows.values())).scores[group])
        lines = [f"| {group} | {' | '.join([*scales, *heads])} |", "|---" * (len(scales) + len(heads) + 1) + "|"]
        for label, row in rows.items():
            cells = [f"{score['psnr']:.2f} / {score['ssim']:.4f}" for score in row.scores[group].values()]
            lines.append(f"| {label} | {' | '.join([*cells, *costs[label]])} |")
        for label, cells in PUBLISHED.items() if group == "Set5" else ():
            known = dict(zip(("x2", "x3", "x4"), cells, strict=True))
            blank = [""] * len(heads)
            lines.append(f"| {label} | {' | '.join([*(known.get(scale, '') for scale in scales), *blank])} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def plot(path: str | Path, rows: Mapping[str, Row], group: str, scale: str) -> None:
    """PSNR at a scale against the time of a whole picture; models that another one beats in both are hollow."""
    from matplotlib.figure import Figure

    from utils.files import atomic_file

    points = {label: (row.encode + row.render, row.scores[group][scale]["psnr"]) for label, row in rows.items()}
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    front = pareto_front(points)
    axes.plot(*zip(*sorted(points[label] for label in front), strict=True), color="C0", alpha=0.4)
    for label, point in points.items():
        axes.scatter(*point, facecolors="C0" if label in front else "none", edgecolors="C0")
        axes.annotate(label, point, textcoords="offset points", xytext=(6, -10), fontsize=8)
    axes.set(xscale="log", xlabel="seconds, encode + render", ylabel=f"PSNR, {group} {scale}, dB")
    axes.margins(x=0.15)
    axes.grid(alpha=0.3, which="both")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:], dpi=120)


def pareto_front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """The labels of (time, quality) that no other point beats in both."""
    return {
        label
        for label, (time, quality) in points.items()
        if not any(t <= time and q >= quality and (t, q) != (time, quality) for t, q in points.values())
    }
