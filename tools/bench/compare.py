"""Models side by side as one table and one plot of quality against time."""

import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evaluation.metrics import DEFAULT, Metric, make_metrics
from evaluation.statistics import means
from evaluation.tasks import make_tasks
from models.upscaler import Upscaler
from models.zoo import resolve
from pictures.reading import read_rgb
from pictures.tensors import resize_bicubic, to_tensor
from tools.bench.figures import in_turn, load, peak_memory, short_name
from utils import cli
from utils.config import load_config
from utils.errors import InputError
from utils.files import atomic_file
from utils.geometry.sizes import Scale, Size, parse_scale

BEGIN, END = "<!-- models: made by `python -m tools.bench compare` -->", "<!-- end of models -->"
SETS = {
    "Set5": (("configs/test-lmf/test-set5-files.yaml", (2, 3, 4)), ("configs/test-lmf/test-set5.yaml", (6, 8))),
    "samples": (("configs/test-lmf/test-samples.yaml", (2, 3, 4, 6, 8)),),
}
SCALES = ("x2", "x3", "x4", "x6", "x8")
PEERS = {  # scores at the first of SCALES, 8 bits: in the LeRF papers; and of x4 networks, enlarged by Pillow's Lanczos
    "Set5": {
        "LeRF-L, published": ("34.84 / 0.9432", "30.72 / 0.8773", "29.13 / 0.8270"),
        "LeRF-G, published": ("35.71 / 0.9475", "32.02 / 0.8980", "30.15 / 0.8548"),
        "LeRF-Net, published": ("36.57 / 0.9562", "33.04 / 0.9162", "31.26 / 0.8810"),
        "LeRF-Net++, published": ("38.27 / 0.9616", "34.57 / 0.9289", "32.52 / 0.8983"),
        "PDS + Lanczos": ("37.56 / 0.9593", "33.99 / 0.9240", "31.76 / 0.8888", "28.46 / 0.8176", "26.62 / 0.7561"),
        "HAESR + Lanczos": ("38.02 / 0.9608", "34.50 / 0.9285", "32.44 / 0.8981", "29.10 / 0.8344", "27.14 / 0.7774"),
    },
    "samples": {
        "PDS + Lanczos": ("38.60 / 0.9631", "35.12 / 0.9270", "33.25 / 0.8961", "31.16 / 0.8530", "29.75 / 0.8237"),
    },
}


COMPARED = ("nearest", "catmull-rom", "lanczos", "lerf-l", "lerf-g", "s", "drawings-s", "photo-s")


def add_commands(commands: Any, common: cli.Parser) -> None:
    help = "scores, times, memory and size of models, for docs/models.md"
    side = commands.add_parser("compare", parents=[common], help=help, description=help)
    side.add_argument("--models", nargs="+", default=COMPARED, help="each a checkpoint, a folder of LUTs, or a filter")
    side.add_argument("--scales", type=cli.scales, default="2,3,4,6,8", help="scales to measure")
    side.add_argument("--metrics", nargs="+", default=["psnr", "ssim"], metavar="NAME", help="see docs/results.md")
    side.add_argument("--picture", default="load/samples/coffee.png", help="resized to the input size, for times")
    side.add_argument("--input", type=cli.size, default="320x180", metavar="WxH", help="input size in pixels")
    side.add_argument("--size", type=cli.size, default="1280x720", metavar="WxH", help="output size in pixels")
    side.add_argument("--repeats", type=cli.count, default=5, help="rounds after a warm-up; the fastest is reported")
    side.add_argument("--document", help="file with the two marks to put the table between")
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
    metrics = make_metrics(dict.fromkeys(("psnr", *arguments.metrics)))
    labels = [short_name(name) for name in arguments.models]
    # First: a process's peak is never below what the one that started it held
    peaks = {label: _peak(name, arguments) for label, name in zip(labels, arguments.models, strict=True)}
    upscalers = {label: load(name) for label, name in zip(labels, arguments.models, strict=True)}
    times = _times(upscalers, read_rgb(arguments.picture), arguments)
    rows = {}
    for label, name in zip(labels, arguments.models, strict=True):
        scores = {
            group: _scores(upscalers[label], parts, arguments.scales, label, metrics) for group, parts in SETS.items()
        }
        rows[label] = Row(scores, *times[label], peaks[label], size_on_disk(resolve(name).path))
    made = models_table(rows, arguments.size, arguments.input, metrics)
    print(made)
    if arguments.document:
        replace_between_marks(Path(arguments.document), BEGIN, END, made)
        print(f"wrote {arguments.document}")
    if arguments.plot:
        scales = next(iter(rows.values())).scores["Set5"]
        plot(arguments.plot, rows, "Set5", "x4" if "x4" in scales else next(iter(scales)))
    return {"models": rows}


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
    upscaler: Upscaler,
    parts: Sequence[tuple[str, Sequence[float]]],
    wanted: Sequence[Scale],
    label: str,
    metrics: Mapping[str, Metric],
) -> dict[str, dict[str, float]]:
    """{scale: mean scores} of those of a set's scales that are wanted, of the model alone, as papers measure."""
    upscaler, scores = replace(upscaler, safeguards=False), {}
    for config, scales in parts:
        chosen = [scale for scale in map(parse_scale, scales) if scale in wanted]
        tasks = make_tasks(load_config(config), config, chosen) if chosen else ()
        for task in tasks:
            pictures = tqdm(range(len(task.samples)), desc=f"{label} {task.name} {task.label}", leave=False)
            rows = {str(n): {label: task.measure(task.sample(n), upscaler, None, metrics)[0]} for n in pictures}
            scores[task.label] = means(rows)[label]
    return scores


def size_on_disk(path: Path | None) -> int:
    """Bytes of a checkpoint, or of all files of a folder of LUTs; 0 of a filter."""
    files = [] if path is None else path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def models_table(rows: Mapping[str, Row], size: Size, input_size: Size, metrics: Mapping[str, Metric]) -> str:
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
            cells = [score_text(score, metrics) for score in row.scores[group].values()]
            lines.append(f"| {label} | {' | '.join([*cells, *costs[label]])} |")
        for label, cells in PEERS[group].items() if list(metrics) == list(DEFAULT) else ():
            known = dict(zip(SCALES, cells, strict=False))
            blank = [""] * len(heads)
            lines.append(f"| {label} | {' | '.join([*(known.get(scale, '') for scale in scales), *blank])} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def score_text(scores: Mapping[str, float], metrics: Mapping[str, Metric]) -> str:
    """`30.15 / 0.8548`: PSNR to two decimals, other metrics to their own."""
    return " / ".join(f"{scores[name]:.{2 if name == 'psnr' else m.digits}f}" for name, m in metrics.items())


def plot(path: str | Path, rows: Mapping[str, Row], group: str, scale: str) -> None:
    """PSNR at a scale against the time of a whole picture; models that another one beats in both are hollow."""
    from matplotlib.figure import Figure

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


def replace_between_marks(document: Path, begin: str, end: str, content: str) -> None:
    """Replace what stands between two lines in `document`; all or nothing. InputError when they are not there."""
    before, first, rest = document.read_text().partition(begin)
    _, last, after = rest.partition(end)
    if not (first and last):
        raise InputError(f"{document} has no lines '{begin}' and '{end}' to put the table between")
    with atomic_file(document) as temporary:
        temporary.write_text(f"{before}{begin}\n\n{content}\n\n{end}{after}")
