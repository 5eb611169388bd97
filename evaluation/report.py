"""Results as text and as JSON."""

import math
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL
import torch

from evaluation.tasks import Task
from models.cmsr.tables import ScaleTable
from models.native import backends
from models.registry import weights_hash
from models.upscaler import Upscaler


def means(rows: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Mean over the pictures for each model and metric."""
    labels = next(iter(rows.values()))
    return {
        label: {metric: sum(row[label][metric] for row in rows.values()) / len(rows) for metric in labels[label]}
        for label in labels
    }


def report_text(task: Task, rows: Mapping[str, Any], notices: Sequence[str] = ()) -> str:
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


def describe(upscalers: Mapping[str, Upscaler], paths: Sequence[str]) -> dict[str, Any]:
    """What each label of the results is: where from, its class, the hash of its weights, its normalisation, what
    computes it on a CPU, and what its encoder computes in."""
    return {
        label: {
            "path": path,
            "class": type(upscaler.model).__name__,
            "weights_hash": weights_hash(upscaler.model),
            "data_norm": upscaler.normalization.to_config(),
            "backend": _computed_by(upscaler),
            "precision": upscaler.precision,
        }
        for (label, upscaler), path in zip(upscalers.items(), paths, strict=True)
    }


def _computed_by(upscaler: Upscaler) -> str:
    """native or torch, whichever `upscaler.backend` comes to here."""
    name = upscaler.model.native_library
    if name is None or upscaler.device.type != "cpu" or upscaler.backend == "torch":
        return "torch"
    return "torch" if backends.library(name) is None else "native"


def describe_tables(tables: Mapping[str, ScaleTable]) -> dict[str, Any]:
    """The scale2mod table of each label that has one."""
    return {
        label: {
            **table.about,
            "scale2mod": {f"{t:g}": {f"{v.scale:g}": v.threshold for v in vs} for t, vs in table.levels.items()},
        }
        for label, table in tables.items()
    }


def environment(device: torch.device) -> dict[str, Any]:
    """What a result depends on beside its settings: device, versions, threads, precision and the state of the
    project."""
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}, Pillow {PIL.__version__}"
    precision = f"{str(torch.get_default_dtype()).removeprefix('torch.')}, {torch.get_float32_matmul_precision()}"
    threads = torch.get_num_threads()
    return {
        "device": str(device), "versions": versions, "threads": threads, "precision": precision, "commit": commit()
    }  # fmt: skip


def commit() -> str | None:
    """The commit of the project, with `-dirty` where files differ from it; None where git does not know."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
