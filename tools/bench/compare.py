"""Models side by side as one table and one plot of quality against time."""

import multiprocessing
import re
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evaluation.metrics import make_metrics
from evaluation.tasks import make_tasks
from models.upscaler import Upscaler
from models.zoo import resolve
from pictures.reading import read_rgb
from pictures.tensors import resize_bicubic, to_pixels, to_tensor
from tools.bench.figures import in_turn, load, short_name
from utils import cli
from utils.config import load_config
from utils.files import atomic_file
from utils.geometry.sizes import Scale, Size, parse_scale

SETS = {
    "Set5": (("configs/test-lmf/test-set5-files.yaml", (2, 3, 4)), ("configs/test-lmf/test-set5.yaml", (6, 8))),
    "samples": (("configs/test-lmf/test-samples.yaml", (2, 3, 4, 6, 8)),),
}
COMPARED = (
    "nearest", "catmull-rom", "lanczos", "lerf-l", "lerf-g", "s", "subpixel-s", "subpixel-m", "drawings-s", "photo-s"
)  # fmt: skip


def add_commands(commands: Any, common: cli.Parser) -> None:
    help = "scores, times, memory and size of models, as one table"
    side = commands.add_parser("compare", parents=[common], help=help, description=help)
    side.add_argument("--models", nargs="+", default=COMPARED, help="each a checkpoint, a folder of LUTs, or a filter")
    side.add_argument("--scales", type=cli.scales, default="2,3,4,6,8", help="scales to measure")
    side.add_argument("--picture", default="load/samples/coffee.png", help="resized to the input size, for times")
    side.add_argument("--input", type=cli.size, default="320x180", metavar="WxH", help="input size in pixels")
    side.add_argument("--size", type=cli.size, default="1280x720", metavar="WxH", help="output size in pixels")
    side.add_argument("--repeats", type=cli.count, default=5, help="rounds after a warm-up; the fastest is reported")
    side.add_argument("--plot", help="also draw quality against time to this picture (needs matplotlib)")
    side.set_defaults(run=compare)


@dataclass(frozen=True)
class Row:
    """Figures of a model: {set: {scale: scores}}, seconds for one picture, MB at its peak, bytes on disk."""

    scores: Mapping[str, Mapping[str, Mapping[str, float]]]
    encode: float
    render: float
    peak: float
    size: int


def compare(arguments: Any) -> dict[str, Any]:
    """Measure every model on both sets, and, in turns, on one picture of the input size; print, write and plot."""
    names = {short_name(name): name for name in arguments.models}
    # First, while nothing else runs
    peaks = {label: _peak(name, arguments) for label, name in names.items()}
    upscalers = {label: load(name) for label, name in names.items()}
    picture, runs = to_tensor(resize_bicubic(read_rgb(arguments.picture), arguments.input)), {}
    for label, upscaler in upscalers.items():
        latent = upscaler.encode(picture)
        runs[label, "encode"] = lambda u=upscaler: u.encode(picture)
        runs[label, "render"] = lambda u=upscaler, c=latent: u.render(c, arguments.size)
    seconds, rows = in_turn(runs, arguments.repeats), {}
    for label, name in names.items():
        scores = {group: _scores(upscalers[label], parts, arguments.scales) for group, parts in SETS.items()}
        times = (min(seconds[label, stage]) for stage in ("encode", "render"))
        rows[label] = Row(scores, *times, peaks[label], size_on_disk(resolve(name).path))
    made = models_table(rows, arguments.size, arguments.input)
    print(made)
    if arguments.plot:
        scales = next(iter(rows.values())).scores["Set5"]
        plot(arguments.plot, rows, "Set5", "x4" if "x4" in scales else next(iter(scales)))
    return {"models": rows}


def _peak(name: str, arguments: Any) -> float:
    """MB beyond the imports that one picture takes in a process of its own."""
    settings = (name, arguments.input, arguments.size, arguments.threads)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(peak_memory, settings)


def peak_memory(model: str, input_size: Size, size: Size, threads: int) -> float:
    """MB that upscaling a picture to 8-bit pixels as demo.py does adds to what is resident before."""
    torch.set_num_threads(threads)
    before = resident_megabytes()
    to_pixels(load(model)(torch.rand(3, *input_size), size)[0])
    return resident_megabytes() - before


def resident_megabytes() -> float:
    """Largest resident size of this process so far; on Linux without that of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def _scores(
    upscaler: Upscaler, parts: Sequence[tuple[str, Sequence[float]]], wanted: Sequence[Scale]
) -> dict[str, dict[str, float]]:
    """{scale: mean scores} of those of a set's scales that are wanted."""
    metrics, scores = make_metrics(), {}
    for config, scales in parts:
        chosen = [scale for scale in map(parse_scale, scales) if scale in wanted]
        for task in make_tasks(load_config(config), config, chosen) if chosen else ():
            scores[task.label] = task.mean_scores(upscaler, metrics)
    return scores


def size_on_disk(path: Path | None) -> int:
    """Bytes of a checkpoint, or of all files of a folder of LUTs; 0 of a filter."""
    files = [] if path is None else path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def models_table(rows: Mapping[str, Row], size: Size, input_size: Size) -> str:
    """Markdown: a table for each set, with what a picture of `input_size` takes to become one of `size`."""
    shapes = f"{input_size[1]}x{input_size[0]} -> {size[1]}x{size[0]}"
    parts = [f"Times and peak memory beyond the imports are those of {shapes}."]
    for group in SETS:
        heads = [*next(iter(rows.values())).scores[group], "encode, s", "render, s", "peak, MB", "file, MB"]
        lines = [f"| {group} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
        for label, row in rows.items():
            cells = [f"{scores['psnr']:.2f} / {scores['ssim']:.4f}" for scores in row.scores[group].values()]
            costs = [f"{row.encode:.3f}", f"{row.render:.3f}", f"{row.peak:.0f}", f"{row.size / 1e6:.2f}"]
            lines.append(f"| {label} | {' | '.join([*cells, *costs])} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def plot(path: str | Path, rows: Mapping[str, Row], group: str, scale: str) -> None:
    """PSNR at a scale against the time of a whole picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for label, row in rows.items():
        point = (row.encode + row.render, row.scores[group][scale]["psnr"])
        axes.scatter(*point, color="C0")
        axes.annotate(label, point, textcoords="offset points", xytext=(6, -10), fontsize=8)
    axes.set(xscale="log", xlabel="seconds, encode + render", ylabel=f"PSNR, {group} {scale}, dB")
    axes.margins(x=0.15)
    axes.grid(alpha=0.3, which="both")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:], dpi=120)
