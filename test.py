"""Measure models on test sets: `python test.py --config configs/test-lmf/test-set5.yaml --model
save/pretrained_models/X.pth`."""

import json
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL
import torch
from tqdm import tqdm

import datasets
from datasets.folders import find_folder
from datasets.implicit import ImplicitDataset
from datasets.warped import WarpedImageFolders
from models.decoders.lmf import LMFDecoder
from models.lerf.imdn import LeRFNet
from utils import cli
from utils.checkpoints import load_upscaler, on_upsampler, weights_hash
from utils.config import check_keys, check_types, load_config, plain_number, require
from utils.coords import Scale, parse_scale, scale_text
from utils.devices import select_device
from utils.errors import InputError
from utils.evaluation import control, measure_pair, measure_warp, repeatable
from utils.files import atomic_file, check_target, distinct_names
from utils.images import to_pixels, to_tensor, write_picture
from utils.kinds import FOLDERS, MAPPING, SCALES, TEXT, TEXTS, whole
from utils.metrics import Protocol, find_protocol, parse_eval_type
from utils.scale_tables import ScaleTable, find_table
from utils.upscaler import Upscaler

KINDS = {
    "protocol": TEXT, "scales": SCALES, "warps": TEXTS, "datasets": MAPPING, "data_norm": MAPPING,
    "eval_bsize": whole(1), "test_dataset": MAPPING, "eval_type": TEXT,
}  # fmt: skip
SET_KINDS = {"hr": FOLDERS, "lr": FOLDERS, "warp": FOLDERS, "first_k": whole(1)}
PILLOW_LR = "made with Pillow's bicubic"


@dataclass(frozen=True)
class Task:
    """One data set at one scale (None where the pictures themselves decide), or under one kind of `warp`."""

    name: str
    scale: Scale | None
    lr_source: str
    samples: ImplicitDataset | WarpedImageFolders
    protocol: Protocol
    warp: str | None = None

    @property
    def label(self) -> str:
        """`x2`, `x3x1.5`, `isc`, or nothing."""
        return self.warp or (f"x{scale_text(self.scale)}" if self.scale else "")

    def measure(self, index: int, upscaler: Upscaler, queries: int | None) -> tuple[dict[str, float], torch.Tensor]:
        """Scores and output picture (3, H, W) of picture `index`."""
        with repeatable(index):
            if isinstance(self.samples, WarpedImageFolders):
                lr, hr, homography = self.samples[index]
                return measure_warp(upscaler, to_tensor(lr), to_tensor(hr), homography, self.protocol)
            lr, hr = map(to_tensor, self.samples.pair(index))
        return measure_pair(upscaler, lr, hr, self.protocol, self.scale, queries)


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(prog="test.py", description="PSNR and SSIM of models on test sets, per picture and mean.")
    parser.add_argument("--config", required=True, help="YAML file, see configs/test-lmf")
    cli.add_model_options(parser, required=True, nargs="+")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a config value")
    parser.add_argument("--scales", type=cli.scales, help="other scales than the config's, such as 2,3.5,3x1.5")
    parser.add_argument("--json", help="results file (default: save/results/CONFIG.json)")
    parser.add_argument("--save-images", metavar="FOLDER", help="write every output picture below this folder")
    cli.add_fast_option(parser)
    cli.add_cmsr_options(parser)
    cli.add_backend_option(parser)
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
        print(table(task, rows, sorted(filter(None, notices))))
    report = {"config": arguments.config, **environment(device), "models": describe(upscalers), "results": results}
    with atomic_file(results_path) as temporary:
        temporary.write_text(json.dumps(report, indent=1))
    print(f"wrote {results_path}" + (f" and the pictures to {arguments.save_images}" if arguments.save_images else ""))


def make_tasks(config: Mapping[str, Any], arguments: Any) -> Iterator[Task]:
    """What a config asks to measure: our `datasets` x `scales`, or the authors' single `test_dataset` with
    `eval_type`."""
    if "test_dataset" in config:
        if "datasets" in config or arguments.scales:
            raise InputError(f"{arguments.config}: a test_dataset stands alone, without 'datasets' and --scales")
        protocol, scale = parse_eval_type(config.get("eval_type"))
        samples = datasets.make_wrapped(config["test_dataset"], "test_dataset")
        made = config["test_dataset"]["dataset"]["name"] != "paired-image-folders"
        lr_source = PILLOW_LR if made else "from files"
        yield Task(samples.path(0).parent.name, scale and (scale, scale), lr_source, samples, protocol)
        return
    protocol = find_protocol(config.get("protocol"))
    scales = arguments.scales or [parse_scale(scale) for scale in config.get("scales") or ()]
    warps = config.get("warps") or ()
    if not (scales or warps) or not config.get("datasets"):
        raise InputError(f"{arguments.config}: needs at least one of 'datasets' and one of 'scales' or 'warps'")
    for name, spec in config["datasets"].items():
        check_types(spec, SET_KINDS, f"datasets.{name}")
        check_keys(spec, SET_KINDS, f"datasets.{name}")
        for scale in scales:
            yield make_task(name, spec, scale, protocol)
        for warp in warps:
            yield make_warp_task(name, spec, warp, protocol)


def make_task(name: str, spec: Mapping[str, Any], scale: Scale, protocol: Protocol) -> Task:
    """A data set `{hr: folders, lr: folder patterns, first_k}` at one scale, {scale} or {height}x{width} in the
    patterns."""
    arguments = {"first_k": spec.get("first_k")}
    hr = require(spec, "hr", f"datasets.{name}")
    if spec.get("lr"):
        height, width = map(plain_number, scale)
        lr = find_pattern(
            spec, "lr", name, scale=height if height == width else scale_text(scale), height=height, width=width
        )
        pairs = {"name": "paired-image-folders", "args": {"root_path_1": lr, "root_path_2": hr, **arguments}}
        wrapper = {"name": "sr-implicit-paired", "args": {"scale": list(scale)}}
        return Task(name, scale, f"from {lr}", wrap(pairs, wrapper), protocol)
    pictures = {"name": "image-folder", "args": {"root_path": hr, **arguments}}
    downsampled = {"name": "sr-implicit-downsampled", "args": {"scale_min": list(scale)}}
    return Task(name, scale, PILLOW_LR, wrap(pictures, downsampled), protocol)


def make_warp_task(name: str, spec: Mapping[str, Any], warp: str, protocol: Protocol) -> Task:
    """A data set `{hr: folders, warp: folder patterns with {warp}, first_k}` under one kind of warp."""
    hr = require(spec, "hr", f"datasets.{name}")
    require(spec, "warp", f"datasets.{name}")
    lr = find_pattern(spec, "warp", name, warp=warp)
    samples = WarpedImageFolders(lr, hr, spec.get("first_k"))
    return Task(name, None, f"and homographies from {lr}", samples, protocol, warp)


def find_pattern(spec: Mapping[str, Any], key: str, name: str, **values: Any) -> Path:
    """The first folder that exists of the patterns `spec[key]`, with `values` filled in."""
    patterns = [spec[key]] if isinstance(spec[key], str) else spec[key]
    try:
        folders = [str(pattern).format(**values) for pattern in patterns]
    except (KeyError, IndexError, ValueError, AttributeError, TypeError):
        allowed = ", ".join(f"{{{value}}}" for value in values)
        raise InputError(f"datasets.{name}: {key} '{patterns[0]}' may hold only {allowed} in braces") from None
    return find_folder(folders)


def wrap(dataset: Mapping[str, Any], wrapper: Mapping[str, Any]) -> ImplicitDataset:
    return datasets.make_wrapped({"dataset": dataset, "wrapper": wrapper}, "datasets")


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


def means(rows: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Mean over the pictures for each model and metric."""
    labels = next(iter(rows.values()))
    return {
        label: {metric: sum(row[label][metric] for row in rows.values()) / len(rows) for metric in labels[label]}
        for label in labels
    }


def table(task: Task, rows: Mapping[str, Any], notices: Sequence[str] = ()) -> str:
    """PSNR / SSIM, or mPSNR, of every picture and their mean, aligned, below any `notices`."""
    lines = {**rows, "mean": means(rows)}
    first = max(map(len, lines))
    widths = {label: max(len(label), len("-00.000/0.0000")) for label in lines["mean"]}
    metrics = "mPSNR" if task.warp else "PSNR/SSIM"
    where = task.protocol.warp_description if task.warp else task.protocol.description
    text = [f"\n{task.name} {task.label}, {metrics}, {where}, LR {task.lr_source}", *notices]
    text.append(" " * first + "".join(f"  {label:>{width}}" for label, width in widths.items()))
    for name, row in lines.items():
        text.append(f"{name:{first}}" + "".join(f"  {score_text(row[label]):>{w}}" for label, w in widths.items()))
    for label, scores in lines["mean"].items():
        if "share" in scores:
            time_ratio = scores["decoder_seconds"] / scores["decoder_seconds_full"]
            loss = lines["mean"][label.removesuffix("+cmsr")]["psnr"] - scores["psnr"]
            text.append(
                f"{label}: {scores['share']:.1%} of the queries, {time_ratio:.2f} of the decoder time, "
                f"{loss:.4f} dB lost, PSNR to full rendering {scores['psnr_to_full']:.2f} dB"
            )
    return "\n".join(text)


def score_text(scores: Mapping[str, float]) -> str:
    return f"{scores['mpsnr']:.3f}" if "mpsnr" in scores else f"{scores['psnr']:.3f}/{scores['ssim']:.4f}"


def summary(task: Task, rows: Mapping[str, Any]) -> dict[str, Any]:
    """A task's results for the JSON file; values that are no finite number become null."""

    def finite(scores: Mapping[str, Any]) -> dict[str, Any]:
        return {m: value if math.isfinite(value) else None for m, value in scores.items()}

    def all_finite(row: Mapping[str, Any]) -> dict[str, Any]:
        return {label: finite(scores) for label, scores in row.items()}

    return {
        "dataset": task.name,
        "scale": task.scale and (task.scale[0] if task.scale[0] == task.scale[1] else task.scale),
        "warp": task.warp,
        "protocol": task.protocol.name,
        "protocol_description": task.protocol.warp_description if task.warp else task.protocol.description,
        "quantised": task.protocol.quantised,
        "lr_source": task.lr_source,
        "pictures": {name: all_finite(row) for name, row in rows.items()},
        "mean": all_finite(means(rows)),
    }


def describe(upscalers: Mapping[str, Upscaler]) -> dict[str, Any]:
    """What each label of the results is: its class and the hash of its weights."""
    return {
        label: {"class": type(u.model).__name__, "weights_hash": weights_hash(u.model)}
        for label, u in upscalers.items()
    }


def environment(device: torch.device) -> dict[str, str]:
    """Device and versions behind a result."""
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}, Pillow {PIL.__version__}"
    return {"device": str(device), "versions": versions}


if __name__ == "__main__":
    cli.run(main)
