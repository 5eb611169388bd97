"""Any checkpoint, or the mean of several, as .safetensors or .pth.

`python -m tools.convert --model X.pth --output X.safetensors`, or `--model A.pth B.pth --shares 1 2 --output M.pth`
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.results import TIMES, label_of, read_results
from models.checkpoints.loading import load_content, load_upscaler, save_checkpoint
from models.checkpoints.safetensors_files import PRECISION, is_safetensors, released, save_safetensors
from models.lerf.tables import LookUpLeRF
from models.registry import weights_hash
from models.upscaler import Upscaler
from models.zoo import ENDINGS
from pictures.reading import read_rgb
from pictures.tensors import resize_bicubic, to_tensor
from utils import cli
from utils.errors import InputError
from utils.files import PROJECT, check_new_target

LARGEST_LOSS = 0.005  # dB on the probes, for bfloat16: half of what may be lost on a test set
PROBES = tuple(PROJECT / "load/samples" / f"{name}.png" for name in ("astronaut", "chelsea", "coffee"))
PROBE_SIDE = 128  # pixels of the middle of a picture
PROBE_SCALES = (2, 4)


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        description="Write a model of this project, or a file of LIIF, LTE, LMF, CiaoSR or LeRF, as .safetensors or "
        ".pth: the model with what people need who use it, without the state of its training.",
    )
    help = "checkpoint, folder of LeRF LUTs, or shipped model; several that were trained from one another are averaged"
    parser.add_argument("--model", required=True, nargs="+", help=help)
    parser.add_argument("--shares", nargs="+", type=cli.positive, metavar="W", help="of several (default: equal ones)")
    parser.add_argument("--output", required=True, metavar="FILE", help="file to write, .safetensors or .pth")
    parser.add_argument("--licence", metavar="TEXT", help="licence of the weights, such as Apache-2.0")
    parser.add_argument(
        "--figures", metavar="JSON", nargs="+", default=[], help="results of test.py with these weights"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    target = check_new_target(arguments.output, arguments.overwrite)
    if target.suffix.lower() not in ENDINGS:
        raise InputError(f"--output {target}: expected a name that ends in {' or '.join(ENDINGS)}")
    content, upscaler = load_content(arguments.model[0]), load_upscaler(arguments.model[0])
    if len(arguments.model) > 1 or arguments.shares:
        content = {"model": {**content["model"], "sd": mean(arguments.model, arguments.shares)}}
        upscaler.model.load_state_dict(content["model"]["sd"])
    made = completed(content, upscaler)
    if arguments.licence:
        made["licence"] = arguments.licence
    if upscaler.model.encodes:
        lost = max(losses(upscaler).values())
        made[PRECISION] = "bfloat16" if lost <= LARGEST_LOSS else "float32"
        print(f"bfloat16 loses {lost:+.4f} dB on the samples: --precision auto is {made[PRECISION]} at most")
    if arguments.figures:
        made["figures"] = figures(arguments.figures, weights_hash(upscaler.model))
    (save_safetensors if is_safetensors(target) else save_checkpoint)(target, made)
    weights, stored = weights_hash(load_upscaler(target).model), target.read_bytes()
    print(f"wrote {target}: {made['model']['name']}, weights {weights}")
    print(f"sha256: {hashlib.sha256(stored).hexdigest()}\nbytes: {len(stored)}")


def mean(names: Sequence[str], shares: Sequence[float] | None) -> dict[str, Tensor]:
    """Weighted mean of the state dicts of checkpoints, summed in double precision; whole numbers are those of the
    first. InputError unless they are of one model, with a share for each."""
    shares = shares or [1.0] * len(names)
    if len(shares) != len(names):
        raise InputError(f"--shares are {len(shares)}, --model names {len(names)}; give a share for each")
    upscalers = [load_upscaler(name) for name in names]
    states = [upscaler.model.state_dict() for upscaler in upscalers]
    kinds = [
        (type(each.model), {k: v.shape for k, v in state.items()}, each.model.trained_scales, each.normalization)
        for each, state in zip(upscalers, states, strict=True)
    ]
    for name, kind in zip(names, kinds, strict=True):
        if kind != kinds[0]:
            raise InputError(f"{name} is another model than {names[0]}; average checkpoints of one model")
    parts = torch.tensor(shares, dtype=torch.float64) / sum(shares)
    return {
        key: sum(state[key].double() * part for state, part in zip(states, parts, strict=True)).to(value.dtype)
        if value.is_floating_point()
        else value
        for key, value in states[0].items()
    }


def completed(content: dict[str, Any], upscaler: Upscaler) -> dict[str, Any]:
    """The released part of a checkpoint: parameters in the model's order (LUTs in 8 bits), normalisation, scales and
    layout of LUTs, also where the checkpoint leaves them unsaid."""
    model, given = upscaler.model, content["model"]
    is_table = isinstance(model, LookUpLeRF)
    stored = dict(model.tables()) if is_table else given["sd"]
    spec = {key: given[key] for key in ("name", "args") if given.get(key) is not None}
    made = {
        **released(content),
        "model": {**spec, "sd": {name: stored[name] for name in model.state_dict() if name in stored}},
    }
    made.setdefault("data_norm", upscaler.normalization.to_config())
    if model.trained_scales is not None:
        made.setdefault("trained_scales", list(model.trained_scales))
    return {**made, "tables": model.layout()} if is_table else made


def losses(upscaler: Upscaler) -> dict[int, float]:
    """{scale: PSNR in dB that bfloat16 loses to float32 on PROBES, in the mean}; NaN counts as infinite."""
    exact, fast = (replace(upscaler, precision=name) for name in ("float32", "bfloat16"))
    measured = {}
    for scale in PROBE_SCALES:
        differences = []
        for path in PROBES:
            lr, hr = probe(path, scale)
            errors = [(made(lr, hr.shape[1:]).cpu() - hr).square().mean() for made in (fast, exact)]
            differences.append(10 * torch.log10(errors[0] / errors[1]))
        measured[scale] = float(torch.stack(differences).mean().nan_to_num(nan=float("inf")))
    return measured


def probe(path: Path, scale: int) -> tuple[Tensor, Tensor]:
    """The middle of a picture as LR (3, h, w), by Pillow's bicubic, and HR (3, H, W)."""
    pixels = read_rgb(path)
    top, left = ((n - PROBE_SIDE) // 2 for n in pixels.shape[:2])
    hr = np.ascontiguousarray(pixels[top : top + PROBE_SIDE, left : left + PROBE_SIDE])
    side = PROBE_SIDE // scale
    return to_tensor(resize_bicubic(hr, (side, side))), to_tensor(hr)


def figures(paths: Sequence[str], weights: str) -> dict[str, Any]:
    """Means of results files of test.py, `{"Set5 x2": {protocol, psnr, ssim}}`, of the model with these weights;
    InputError when a file measures others."""
    found: dict[str, Any] = {}
    for path in paths:
        results = read_results(path)
        labels = [label for label, about in results["models"].items() if about.get("weights_hash") == weights]
        if not labels:
            raise InputError(f"{path} measures no model with the weights {weights}; measure this one")
        for task in results["results"]:
            scores = (task.get("mean") or {}).get(labels[0])
            name = f"{task.get('dataset')} {label_of(task)}".strip()
            if scores is None:
                raise InputError(f"{path} has no mean of {labels[0]} for {name}; measure again")
            kept = {metric: value for metric, value in scores.items() if metric not in TIMES}
            found[name] = {"protocol": task.get("protocol"), **kept}
    return found


if __name__ == "__main__":
    cli.run(main)
