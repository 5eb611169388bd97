"""Measure models on test sets: `python test.py --config configs/test-lmf/test-set5.yaml --model
save/pretrained_models/X.pth`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.zoo import resolve_all, zoo
from utils import cli, processes, system
from utils.config import check_keys, check_types
from utils.errors import InputError
from utils.files import atomic_file, check_new_target, check_regular, check_target, distinct_names
from utils.system import keep_freed

HOURS = 24 * 60  # in minutes: processes wait for each other while one measures a picture

if TYPE_CHECKING:
    from evaluation.candidates import Candidate
    from evaluation.results import Results
    from evaluation.tasks import Task
    from models.cmsr.tables import ScaleTable


def parse_arguments(argv: Sequence[str]) -> Namespace:
    parser = cli.Parser(description="Scores of models on test sets, per picture and mean.")
    parser.add_argument("--config", help="YAML file, see configs/test-lmf")
    cli.add_model_options(parser, zoo(), nargs="+")
    cli.add_options(parser, "set")
    parser.add_argument("--scales", type=cli.scales, help="other scales than the config's, such as 2,3.5,3x1.5")
    measured = "psnr, ssim, mae, lpips, or any of pyiqa's where that is installed (default: the config's, or psnr ssim)"
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help=measured)
    parser.add_argument("--safeguards", action="store_true", help="limit overshoot and keep greys, as demo.py does")
    parser.add_argument("--json", help="results file (default: a new one, save/results/CONFIG.json; with --again none)")
    parser.add_argument("--csv", metavar="FILE", help="means, 95 %% intervals and differences, a line each")
    parser.add_argument("--latex", metavar="FILE", help="table of the means for booktabs: best bold, second underlined")
    parser.add_argument("--overwrite", action="store_true", help="replace files of another call's results")
    parser.add_argument("--save-images", metavar="FOLDER", help="write every output picture below this folder")
    parser.add_argument("--again", metavar="JSON", help="measure what this results file holds again, and compare")
    cli.add_options(parser, "fast", *cli.CMSR, "backend", "precision", *cli.DEVICE)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = parse_arguments(argv)
    if arguments.again:
        measure_again(argv, arguments)
        return
    if not (arguments.config and arguments.model):
        raise InputError("needs --config and --model, or --again with a results file; see --help")
    if arguments.ensemble and arguments.cmsr:
        raise InputError("--ensemble and --cmsr exclude each other; remove one")
    resolve_all([name for name in (*arguments.model, arguments.upsampler) if not str(name).startswith("pictures:")])
    system.settle_threads(arguments.threads)
    keep_freed()
    from evaluation.report import as_csv, as_latex
    from evaluation.results import results_path
    from evaluation.tasks import load_test_config

    config = load_test_config(arguments.config, arguments.set)
    path = results_path(arguments, argv)
    forms = {as_csv: arguments.csv, as_latex: arguments.latex}
    tables = {form: check_new_target(name, arguments.overwrite) for form, name in forms.items() if name}
    if len({path, *tables.values()}) <= len(tables):
        raise InputError("--json, --csv and --latex name one file; give each its own")
    results = measure(arguments, config, argv, path)
    if processes.follows():
        return
    for form, target in tables.items():
        with atomic_file(target) as temporary:
            temporary.write_text(form(results.measured, results.metrics))
    print(f"wrote {', '.join(map(str, (path, *tables.values())))}", end="")
    print(f" and the pictures to {arguments.save_images}" if arguments.save_images else "")
    stop_on_nan(results)


def measure_again(argv: Sequence[str], arguments: Namespace) -> None:
    """Measure what a results file holds, with the config that it holds; exit status 1 when anything differs."""
    if {word.partition("=")[0] for word in argv if word.startswith("--")} - {"--again", "--json"}:
        raise InputError("--again measures as its file says; of the other options it takes only --json")
    check_regular(arguments.again, "file of results")
    system.settle_threads()
    from evaluation.results import changes, read_results

    before = read_results(arguments.again)
    if not before.get("complete"):
        raise InputError(f"{arguments.again} is of a measurement that did not end; measure with its config first")
    path = check_target(arguments.json) if arguments.json else None
    repeated = parse_arguments(before["command"])
    repeated.config, repeated.save_images = before["config"], None
    system.settle_threads(repeated.threads)
    if processes.launched() > 1:
        raise InputError("--again measures in one process; start it without torchrun")
    results = measure(repeated, before["config_content"], before["command"], path)
    lines, compared = changes(before, results.content())
    print("\n".join(lines) or f"the same: {compared} scores")
    if lines:
        sys.exit(1)
    stop_on_nan(results)


def measure(arguments: Namespace, config: dict[str, Any], command: Sequence[str], path: Path | None) -> Results:
    """Measure what `arguments` and `config` ask for and print it; the results are at `path` after every picture."""
    from evaluation.candidates import find_tables, load_candidates
    from evaluation.metrics import DEFAULT, make_metrics
    from evaluation.report import report_text
    from evaluation.results import Results, describe, describe_tables, environment
    from evaluation.tasks import KINDS, find_tasks
    from utils.system import select_device

    check_types(config, KINDS, arguments.config)
    check_keys(config, KINDS, arguments.config)
    metrics = make_metrics(arguments.metrics or config.get("metrics") or DEFAULT)
    device, notice = select_device(arguments.device, arguments.gpu)
    tasks, missing = find_tasks(config, arguments.config, arguments.scales)
    candidates = load_candidates(arguments, device, config.get("data_norm"))
    if arguments.cmsr and all(task.warp for task in tasks):
        raise InputError("--cmsr renders upright pictures only, and this config contains only warps")
    scale_tables = find_tables(arguments, candidates) if arguments.cmsr else {}
    if not processes.follows():
        for line in filter(None, (notice, *(f"not measured: {each}" for each in missing))):
            print(line)
    about = {
        "command": list(command), "config": arguments.config, "config_content": config, **environment(device),
        "models": describe(candidates, arguments.model), "cmsr": describe_tables(scale_tables),
    }  # fmt: skip
    results = Results(path, about, metrics)
    try:
        with processes.watch(), processes.joined(HOURS):
            for task in tasks:
                rows = measure_task(task, candidates, scale_tables, arguments, config, results)
                notices = {table.notice(max(task.scale)) for table in scale_tables.values() if task.scale}
                if processes.is_first():
                    print(report_text(task, rows, metrics, sorted(filter(None, notices))))
            results.complete = True
            results.write()
    except processes.Stopped as stopped:
        kept = f"; {path} holds what was measured" if path and results.tasks else ""
        raise processes.Stopped(f"{stopped}{kept}", stopped.status) from None
    return results


def measure_task(
    task: Task,
    candidates: Mapping[str, Candidate],
    scale_tables: Mapping[str, ScaleTable],
    arguments: Namespace,
    config: Mapping[str, Any],
    results: Results,
) -> dict[str, Any]:
    """Scores {picture: {label: {metric: score}}} of a task, each picture at once in `results`; writes the pictures that
    are asked for."""
    from tqdm import tqdm

    from models.cmsr.report import control
    from pictures.tensors import to_pixels
    from pictures.writing import write_picture

    rows: dict[str, Any] = {}
    hashes: dict[str, Any] = {}
    names = distinct_names([task.samples.path(index) for index in range(len(task.samples))])
    queries = None if arguments.fast else config.get("eval_bsize") or 30000

    def measure_picture(index: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
        sample = task.sample(index)
        row: dict[str, Any] = {}
        for label, candidate in candidates.items():
            row[label], picture = task.measure(sample, candidate, queries, results.metrics)
            if arguments.save_images:
                folder = Path(arguments.save_images) / task.name / (task.label or "x0")
                file = folder / label.strip("/.").replace("/", "_") / f"{names[sample.path]}.png"
                write_picture(file, to_pixels(picture.cpu()))
        for label, table in () if task.warp else scale_tables.items():
            report = control(candidates[label], sample.lr, tuple(sample.hr.shape[-2:]), table, arguments.cmsr_from)
            scores = task.protocol.measure(report.picture, sample.hr, task.scale_of(sample), results.metrics)
            row[f"{label}+cmsr"] = {**scores, **report.figures()}
        return sample.path.name, row, sample.hashes()

    measured = processes.shared_out(range(len(task.samples)), measure_picture)
    hidden = None if processes.is_first() else True
    progress = {"total": len(task.samples), "desc": f"{task.name} {task.label}", "leave": False, "disable": hidden}
    for name, row, content in tqdm(measured, **progress):
        rows[name], hashes[name] = row, content
        results.add(task, rows, hashes)
    return rows


def stop_on_nan(results: Results) -> None:
    """Exit status 1 when a score is no number."""
    if results.not_numbers:
        print(f"{len(results.not_numbers)} scores are NaN, the first: {results.not_numbers[0]}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main)
