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
from utils.config import check_keys, check_types, load_config
from utils.errors import InputError
from utils.files import check_regular, check_target, distinct_names
from utils.system import keep_freed

HOURS = 24 * 60  # in minutes: processes wait for each other while one measures a picture

if TYPE_CHECKING:
    from evaluation.results import Results
    from evaluation.tasks import Task
    from models.cmsr.tables import ScaleTable
    from models.upscaler import Upscaler


def parse_arguments(argv: Sequence[str]) -> Namespace:
    parser = cli.Parser(prog="test.py", description="PSNR and SSIM of models on test sets, per picture and mean.")
    parser.add_argument("--config", help="YAML file, see configs/test-lmf")
    cli.add_model_options(parser, zoo(), nargs="+")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a config value")
    parser.add_argument("--scales", type=cli.scales, help="other scales than the config's, such as 2,3.5,3x1.5")
    parser.add_argument("--json", help="results file (default: save/results/CONFIG.json, with --again none)")
    parser.add_argument("--save-images", metavar="FOLDER", help="write every output picture below this folder")
    parser.add_argument("--again", metavar="JSON", help="measure what this results file holds again, and compare")
    cli.add_fast_option(parser)
    cli.add_cmsr_options(parser)
    cli.add_backend_option(parser)
    cli.add_precision_option(parser, default="float32")
    cli.add_device_options(parser)
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
    path = check_target(arguments.json or f"save/results/{Path(arguments.config).stem}.json")
    config = load_config(arguments.config, arguments.set)
    resolve_all([*arguments.model, arguments.upsampler])
    system.settle_threads(arguments.threads)
    keep_freed()
    results = measure(arguments, config, argv, path)
    if not processes.follows():
        print(f"wrote {path}" + (f" and the pictures to {arguments.save_images}" if arguments.save_images else ""))
        stop_on_nan(results)


def measure_again(argv: Sequence[str], arguments: Namespace) -> None:
    """Measure what a results file holds, with the config that it holds; exit status 1 when anything differs."""
    if {word.partition("=")[0] for word in argv if word.startswith("--")} - {"--again", "--json"}:
        raise InputError("--again measures as its file says; of the other options it takes only --json")
    check_regular(arguments.again, "file of results")
    system.settle_threads()
    from evaluation.results import differences, read_results

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
    lines, compared = differences(before, results.content())
    print("\n".join(lines) or f"the same: {compared} scores")
    if lines:
        sys.exit(1)
    stop_on_nan(results)


def measure(arguments: Namespace, config: dict[str, Any], command: Sequence[str], path: Path | None) -> Results:
    """Measure what `arguments` and `config` ask for and print it; the results are at `path` after every picture."""
    from evaluation.compared import find_tables, load_upscalers, put_on_upsampler
    from evaluation.report import describe, describe_tables, environment, report_text
    from evaluation.results import Results
    from evaluation.tasks import KINDS, make_tasks
    from models.checkpoints.loading import load_upscaler
    from models.ensemble import Ensemble
    from utils.system import select_device

    check_types(config, KINDS, arguments.config)
    check_keys(config, KINDS, arguments.config)
    device, notice = select_device(arguments.device, arguments.gpu)
    if notice and not processes.follows():
        print(notice)
    tasks = list(make_tasks(config, arguments))
    precision, backend = arguments.precision, arguments.backend
    upscalers = load_upscalers(arguments.model, device, config.get("data_norm"), backend, precision)
    if arguments.upsampler:
        upsampler = load_upscaler(arguments.upsampler, device, backend=backend)
        upscalers = put_on_upsampler(upscalers, upsampler, Path(arguments.upsampler).stem, precision)
    if precision == "bfloat16" and not any(upscaler.model.encodes for upscaler in upscalers.values()):
        raise InputError("--precision bfloat16: none of the models has an encoder; remove it")
    if arguments.ensemble:
        upscalers = {label: Ensemble.of(upscaler) for label, upscaler in upscalers.items()}
    if arguments.cmsr and all(task.warp for task in tasks):
        raise InputError("--cmsr renders upright pictures only, and this config contains only warps")
    tables = find_tables(arguments, upscalers) if arguments.cmsr else {}
    queries = None if arguments.fast else config.get("eval_bsize") or 30000
    results = Results(
        path,
        {
            "command": list(command), "config": arguments.config, "config_content": config, **environment(device),
            "models": describe(upscalers, arguments.model), "cmsr": describe_tables(tables),
        },
    )  # fmt: skip
    try:
        with processes.watch(), processes.joined(HOURS):
            for task in tasks:
                rows = measure_task(task, upscalers, tables, queries, arguments, results)
                notices = {table.notice(max(task.scale)) for table in tables.values() if task.scale}
                if processes.is_first():
                    print(report_text(task, rows, sorted(filter(None, notices))))
            results.finish()
    except processes.Stopped as stopped:
        kept = f"; {path} holds what was measured" if path and results.tasks else ""
        raise processes.Stopped(f"{stopped}{kept}", stopped.status) from None
    return results


def measure_task(
    task: Task,
    upscalers: Mapping[str, Upscaler],
    tables: Mapping[str, ScaleTable],
    queries: int | None,
    arguments: Namespace,
    results: Results,
) -> dict[str, Any]:
    """Scores {picture: {label: {psnr, ssim}}} of a task, each picture at once in `results`; writes the pictures that
    are asked for."""
    from tqdm import tqdm

    from pictures.tensors import to_pixels
    from pictures.writing import write_picture

    rows: dict[str, Any] = {}
    hashes: dict[str, Any] = {}
    names = distinct_names([task.samples.path(index) for index in range(len(task.samples))])

    def measure_picture(index: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
        sample, path = task.sample(index), task.samples.path(index)
        row: dict[str, Any] = {}
        for label, upscaler in upscalers.items():
            row[label], picture = task.measure(sample, upscaler, queries)
            if arguments.save_images:
                folder = Path(arguments.save_images) / task.name / (task.label or "x0")
                write_picture(folder / label.strip("/.").replace("/", "_") / f"{names[path]}.png", to_pixels(picture))
        for label, table in () if task.warp else tables.items():
            row[f"{label}+cmsr"] = task.measure_controlled(sample, upscalers[label], table, arguments.cmsr_from)
        return path.name, row, sample.hashes()

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
