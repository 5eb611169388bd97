"""Measure models on test sets: `python test.py --config configs/test-lmf/test-set5.yaml --model
save/pretrained_models/X.pth`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import models
from evaluation.cmsr_report import control
from evaluation.report import describe, environment, report_text, summary
from evaluation.tasks import KINDS, Task, make_tasks
from models.checkpoints.loading import load_upscaler, on_upsampler
from models.cmsr.tables import ScaleTable, find_table
from models.decoders.lmf import LMFDecoder
from models.lerf.lerf_net import LeRFNet
from models.native import BACKENDS
from models.upscaler import Upscaler
from utils import cli
from utils.config import check_keys, check_types, load_config
from utils.devices import select_device
from utils.errors import InputError
from utils.files import atomic_file, check_target, distinct_names
from utils.images import to_pixels, to_tensor, write_picture
from utils.random_state import repeatable


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(prog="test.py", description="PSNR and SSIM of models on test sets, per picture and mean.")
    parser.add_argument("--config", required=True, help="YAML file, see configs/test-lmf")
    cli.add_model_options(parser, models.names("decoders"), models.names("resampling"), required=True, nargs="+")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a config value")
    parser.add_argument("--scales", type=cli.scales, help="other scales than the config's, such as 2,3.5,3x1.5")
    parser.add_argument("--json", help="results file (default: save/results/CONFIG.json)")
    parser.add_argument("--save-images", metavar="FOLDER", help="write every output picture below this folder")
    cli.add_fast_option(parser)
    cli.add_cmsr_options(parser)
    cli.add_backend_option(parser, BACKENDS)
    cli.add_device_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    config = load_config(arguments.config, arguments.set)
    check_keys(config, KINDS, arguments.config)
    check_types(config, KINDS, arguments.config)
    device, notice = select_device(arguments.device, arguments.gpu)
    if notice:
        print(notice)
    results_path = check_target(arguments.json or f"save/results/{Path(arguments.config).stem}.json")
    tasks = list(make_tasks(config, arguments))
    upscalers = load_upscalers(arguments.model, device, config.get("data_norm"), arguments.backend)
    if arguments.upsampler:
        upsampler = load_upscaler(arguments.upsampler, device, backend=arguments.backend)
        upscalers = put_on_upsampler(upscalers, upsampler, Path(arguments.upsampler).stem)
    queries = None if arguments.fast else config.get("eval_bsize") or 30000

    if arguments.cmsr and all(task.warp for task in tasks):
        raise InputError("--cmsr renders upright pictures only, and this config has but warps")
    tables = find_tables(arguments, upscalers) if arguments.cmsr else {}

    results = []
    for task in tasks:
        rows = evaluate(task, upscalers, queries, arguments.save_images)
        if tables and not task.warp:
            add_controlled(rows, task, upscalers, tables, arguments)
        results.append(summary(task, rows))
        notices = {t.notice(max(task.scale)) for t in tables.values() if task.scale}
        print(report_text(task, rows, sorted(filter(None, notices))))
    report = {"config": arguments.config, **environment(device), "models": describe(upscalers), "results": results}
    with atomic_file(results_path) as temporary:
        temporary.write_text(json.dumps(report, indent=1))
    print(f"wrote {results_path}" + (f" and the pictures to {arguments.save_images}" if arguments.save_images else ""))


def load_upscalers(
    names: Sequence[str], device: torch.device, data_norm: Mapping[str, Any] | None, backend: str
) -> dict[str, Upscaler]:
    """Models under the labels of the table: file stems, or whole paths where stems are the same."""
    stems = [Path(name).stem for name in names]
    labels = [stem if stems.count(stem) == 1 else name for stem, name in zip(stems, names, strict=True)]
    return {label: load_upscaler(name, device, data_norm, backend) for label, name in zip(labels, names, strict=True)}


def put_on_upsampler(upscalers: Mapping[str, Upscaler], upsampler: Upscaler, name: str) -> dict[str, Upscaler]:
    """The models with every LeRF-Net on the upsampler, as `NET+NAME`; at least one."""
    made = {}
    for label, upscaler in upscalers.items():
        is_net = type(upscaler.model) is LeRFNet
        made[f"{label}+{name}" if is_net else label] = on_upsampler(upscaler, upsampler) if is_net else upscaler
    if made.keys() == upscalers.keys():
        raise InputError("--upsampler: none of the models is a lerf-net")
    return made


def evaluate(task: Task, upscalers: Mapping[str, Upscaler], queries: int | None, folder: str | None) -> dict[str, Any]:
    """Scores {picture: {model: {psnr, ssim}}} of every picture of a task; writes the pictures when `folder` is
    given."""
    rows: dict[str, Any] = {}
    names = distinct_names([task.samples.path(index) for index in range(len(task.samples))])
    for index in tqdm(range(len(task.samples)), desc=f"{task.name} {task.label}", leave=False, disable=None):
        path = task.samples.path(index)
        rows[path.name] = {}
        for label, upscaler in upscalers.items():
            rows[path.name][label], picture = task.measure(index, upscaler, queries)
            if folder:
                place = Path(folder) / task.name / (task.label or "x0") / label.strip("/.").replace("/", "_")
                write_picture(place / f"{names[path]}.png", to_pixels(picture))
    return rows


def find_tables(arguments: Any, upscalers: Mapping[str, Upscaler]) -> dict[str, ScaleTable]:
    """The scale2mod table of every model that CMSR can control; at least one."""
    models = zip(upscalers, arguments.model, strict=True)
    paths = {label: path for label, path in models if isinstance(upscalers[label].model, LMFDecoder)}
    if not paths:
        raise InputError("--cmsr: none of the models is an LM-LIIF, LM-LTE or LM-CiaoSR")
    path, mse, force = arguments.cmsr_path, arguments.cmsr_mse, arguments.force
    return {label: find_table(upscalers[label], model, path, mse, force) for label, model in paths.items()}


def add_controlled(
    rows: dict[str, Any],
    task: Task,
    upscalers: Mapping[str, Upscaler],
    tables: Mapping[str, ScaleTable],
    arguments: Any,
) -> None:
    """Add to `rows` the scores of each model with CMSR, and what CMSR saved."""
    for index in range(len(task.samples)):
        with repeatable(index):
            lr, hr = map(to_tensor, task.samples.pair(index))
        path, size = task.samples.path(index), tuple(hr.shape[-2:])
        scale = task.scale or tuple(n / m for n, m in zip(size, lr.shape[-2:], strict=True))
        for label, table in tables.items():
            report = control(upscalers[label], lr, size, table, arguments.cmsr_from)
            scores = task.protocol.measure(report.picture, hr, scale)
            rows[path.name][f"{label}+cmsr"] = {**scores, **report.figures()}


if __name__ == "__main__":
    cli.run(main)
