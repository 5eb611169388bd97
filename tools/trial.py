"""Models trained alike and compared: `python -m tools.trial configs/trials/sizes.yaml --seeds 0 1`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import train
from evaluation.metrics import make_metrics
from evaluation.tasks import make_tasks
from models.checkpoints.loading import load_upscaler
from training.state import LAST
from utils import cli
from utils.config import check_keys, load_config, merge, require, write_yaml
from utils.errors import InputError
from utils.files import atomic_file


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        description="Train each of a trial's `entries` (changes of the config around them) with each seed by train.py, "
        "measure them on its `sets` (test configs), and write what came out. What is there already is not done again.",
    )
    parser.add_argument("config", help="YAML file, see configs/trials")
    parser.add_argument(
        "--seeds", type=cli.seed, nargs="+", default=[0, 1], help="all entries with the first one first"
    )
    parser.add_argument("--root", default="save/trials", help="folder of the runs and of the results")
    cli.add_options(parser, "set")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> str:
    arguments = parse_arguments(argv)
    config = load_config(arguments.config, arguments.set)
    trial = require(config, "trial", arguments.config)
    check_keys(trial, ("entries", "sets"), f"{arguments.config}: trial")
    common = {key: value for key, value in config.items() if key != "trial"}
    entries, sets = (require(trial, key, f"{arguments.config}: trial") for key in ("entries", "sets"))
    sets = {name: data for name, data in sets.items() if data is not None}  # as --set trial.sets.NAME=null
    root, rows = Path(arguments.root), {}
    runs = {
        (label, seed): merge(common, {**entries[label], "seed": seed}) for seed in arguments.seeds for label in entries
    }
    for (label, seed), changed in runs.items():
        check_run(root, f"{label}-{seed}", changed)
    for (label, seed), changed in runs.items():
        train_run(root, f"{label}-{seed}", changed)
        rows.setdefault(label, {})[seed] = judge(root, f"{label}-{seed}", sets)
    output = root / f"{Path(arguments.config).stem}.json"
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


def judge(root: Path, name: str, sets: Mapping[str, Any]) -> dict[str, Any]:
    """Steps, parameters, and means of the metrics of each set, {psnr: {set: {x2: ...}}}, of a run, measured once."""
    path, checkpoint = root / f"{name}.json", root / name / LAST
    if path.exists():
        return json.loads(path.read_text())
    upscaler = load_upscaler(checkpoint)
    trained = sum(p.numel() for p in upscaler.model.parameters() if p.requires_grad)
    steps = torch.load(checkpoint, weights_only=True, mmap=True)["step"]
    found: dict[str, Any] = {"steps": steps, "parameters": trained, "psnr": {}}
    for label, config in sets.items():
        metrics = make_metrics(["psnr", *(each for each in config.get("metrics") or () if each != "psnr")])
        for task in make_tasks(config, f"trial.sets.{label}"):
            for metric, score in task.mean_scores(upscaler, metrics).items():
                key = "psnr" if task.warp else metric
                found.setdefault(key, {}).setdefault(label, {})[task.label] = score
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(found))
    return found


def table(rows: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> str:
    """Markdown: a row an entry, mean scores over its seeds and, of several, how far these are apart."""
    first = next(iter(next(iter(rows.values())).values()))
    metrics = [key for key in first if key not in ("steps", "parameters")]
    columns = [(key, group, label) for key in metrics for group, scores in first[key].items() for label in scores]
    scored = [f"{group} {label}" + ("" if key == "psnr" else f" {key}") for key, group, label in columns]
    heads = ["", "seeds", "steps", *scored, "parameters"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for entry, seeds in rows.items():
        runs = list(seeds.values())
        cells = [entry, str(len(runs)), str(runs[0]["steps"])]
        for key, group, label in columns:
            values, digits = [run[key][group][label] for run in runs], 2 if key == "psnr" else 4
            spread = f" ({max(values) - min(values):.{digits}f})" if len(values) > 1 else ""
            cells.append(f"{sum(values) / len(values):.{digits}f}{spread}")
        cells.append(f"{runs[0]['parameters']:,}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
