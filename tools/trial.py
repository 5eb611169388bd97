"""Models trained alike and compared: `python -m tools.trial configs/trials/sizes.yaml --seeds 0 1`."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import train
from evaluation.metrics import make_metrics
from evaluation.statistics import means
from evaluation.tasks import make_tasks
from models.checkpoints.loading import load_upscaler
from models.upscaler import Upscaler
from pictures.reading import read_rgb
from pictures.tensors import resize_bicubic, to_tensor
from training.state import LAST
from utils import cli
from utils.config import check_keys, load_config, merge, require, write_yaml
from utils.errors import InputError
from utils.files import atomic_file

PICTURE = "load/samples/coffee.png"


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="trial",
        description="Train each of a trial's `entries` (changes of the config around them) with each seed by train.py, "
        "measure them on its `sets` (test configs), and write what came out. What is there already is not done again.",
    )
    parser.add_argument("config", help="YAML file, see configs/trials")
    parser.add_argument(
        "--seeds", type=cli.seed, nargs="+", default=[0, 1], help="all entries with the first one first"
    )
    parser.add_argument("--root", default="save/trials", help="folder of the runs and of the results")
    parser.add_argument("--output", help="the results: FILE.json, beside it FILE.md (default: ROOT/CONFIG.json)")
    cli.add_set_option(parser)
    parser.add_argument("--input", type=cli.size, default="320x180", help="of the picture that is timed")
    parser.add_argument("--size", type=cli.size, default="1280x720", help="of the output that is timed")
    parser.add_argument("--repeats", type=cli.count, default=5, help="rounds of the timing")
    parser.add_argument("--only-report", action="store_true", help="train nothing, write what is known and time it")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> str:
    arguments = parse_arguments(argv)
    config = load_config(arguments.config, arguments.set)
    trial = require(config, "trial", arguments.config)
    check_keys(trial, ("entries", "sets"), f"{arguments.config}: trial")
    common = {key: value for key, value in config.items() if key != "trial"}
    entries, sets = (require(trial, key, f"{arguments.config}: trial") for key in ("entries", "sets"))
    sets = {name: data for name, data in sets.items() if data is not None}  # as --set trial.sets.NAME=null
    root, scores = Path(arguments.root), {}
    runs = {
        (label, seed): merge(common, {**entries[label], "seed": seed}) for seed in arguments.seeds for label in entries
    }
    for (label, seed), changed in runs.items():
        check_run(root, f"{label}-{seed}", changed)
    for (label, seed), changed in runs.items():
        if not arguments.only_report:
            train_run(root, f"{label}-{seed}", changed)
        if found := judge(root, f"{label}-{seed}", sets):
            scores.setdefault(label, {})[seed] = found
    if not scores:
        raise InputError(f"{root} holds no finished run of {arguments.config}; leave --only-report out")
    upscalers = {label: load_upscaler(root / f"{label}-{min(of)}" / LAST) for label, of in scores.items()}
    costs = cpu_seconds(upscalers, arguments)
    rows = {
        label: {"seeds": of, "parameters": parameters(upscalers[label]), **costs[label]} for label, of in scores.items()
    }
    output = Path(arguments.output or root / f"{Path(arguments.config).stem}.json")
    for path, text in ((output, json.dumps(rows, indent=1)), (output.with_suffix(".md"), table(rows))):
        with atomic_file(path) as temporary:
            temporary.write_text(text + "\n")
    return f"{table(rows)}\nwrote {output} and {output.with_suffix('.md')}"


def check_run(root: Path, name: str, config: Mapping[str, Any]) -> None:
    """InputError when there is a run of that name with another config."""
    path = root / f"{name}.yaml"
    if path.exists() and path.read_text() != write_yaml(config):
        raise InputError(f"{path} says other settings than this trial; use another --root, or delete it with its run")


def train_run(root: Path, name: str, config: Mapping[str, Any]) -> None:
    """Train to the end, from where an earlier call was stopped; a finished run stays as it is."""
    if (root / f"{name}.json").exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    with atomic_file(root / f"{name}.yaml") as temporary:
        temporary.write_text(write_yaml(config))
    run = ["--name", name, "--save-root", str(root), "--auto-resume", "--save-every", "500"]
    train.main(["--config", str(root / f"{name}.yaml"), *run])


def judge(root: Path, name: str, sets: Mapping[str, Any]) -> dict[str, Any] | None:
    """Steps and means of the metrics of each set, {psnr: {set: {x2: ...}}}, of a finished run, measured once; None
    where it is not finished."""
    path, checkpoint = root / f"{name}.json", root / name / LAST
    if path.exists():
        return json.loads(path.read_text())
    state = torch.load(checkpoint, weights_only=True, mmap=True) if checkpoint.exists() else None
    if state is None or state["step"] < state["config"]["epoch_max"] * state["steps_per_epoch"]:
        return None
    upscaler, found = load_upscaler(checkpoint), {"steps": state["step"], "psnr": {}}
    upscaler.safeguards = False  # as papers measure
    for label, config in sets.items():
        metrics = make_metrics(["psnr", *(each for each in config.get("metrics") or () if each != "psnr")])
        for task in make_tasks(config, f"trial.sets.{label}"):
            pictures = range(len(task.samples))
            rows = {str(n): {"": task.measure(task.sample(n), upscaler, None, metrics)[0]} for n in pictures}
            for metric, score in means(rows)[""].items():
                key = "psnr" if task.warp else metric
                found.setdefault(key, {}).setdefault(label, {})[task.label] = score
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(found))
    return found


def parameters(upscaler: Upscaler) -> int:
    return sum(p.numel() for p in upscaler.model.parameters() if p.requires_grad)


def cpu_seconds(upscalers: Mapping[str, Upscaler], arguments: Any) -> dict[str, dict[str, float]]:
    """Least CPU time, on one thread, of encoding a picture in float32 and bfloat16 and of rendering it, all models in
    turn, so that what else the machine does touches them alike."""
    torch.set_num_threads(1)
    picture, runs = to_tensor(resize_bicubic(read_rgb(PICTURE), arguments.input)), {}
    for label, upscaler in upscalers.items():
        for precision in ("float32", "bfloat16"):
            encoder = Upscaler(upscaler.model, upscaler.normalization, precision=precision)
            runs[label, f"encode, {precision}"] = lambda u=encoder: u.encode(picture)
        latent = upscaler.encode(picture)
        runs[label, "render"] = lambda u=upscaler, c=latent: u.render(c, arguments.size)
    least: dict[str, dict[str, float]] = {label: {} for label in upscalers}
    for _ in range(1 + arguments.repeats):
        for (label, what), run in runs.items():
            started = time.process_time()
            run()
            least[label][what] = min(time.process_time() - started, least[label].get(what, float("inf")))
    return least


def table(rows: Mapping[str, Any]) -> str:
    """Markdown: a row an entry, mean scores over its seeds and, of several, how far these are apart."""
    first = next(iter(next(iter(rows.values()))["seeds"].values()))
    metrics = [key for key in first if key != "steps"]
    columns = [(key, group, label) for key in metrics for group, scores in first[key].items() for label in scores]
    costs = [key for key in next(iter(rows.values())) if key not in ("seeds", "parameters")]
    heads = [
        "",
        "seeds",
        "steps",
        *(f"{group} {label}" + ("" if key == "psnr" else f" {key}") for key, group, label in columns),
        "parameters",
        *(f"{c}, s" for c in costs),
    ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for entry, row in rows.items():
        runs = list(row["seeds"].values())
        cells = [entry, str(len(runs)), str(runs[0]["steps"])]
        for key, group, label in columns:
            values, digits = [run[key][group][label] for run in runs], 2 if key == "psnr" else 4
            spread = f" ({max(values) - min(values):.{digits}f})" if len(values) > 1 else ""
            cells.append(f"{sum(values) / len(values):.{digits}f}{spread}")
        cells += [f"{row['parameters']:,}", *(f"{row[cost]:.3f}" for cost in costs)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
