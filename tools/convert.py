"""Any checkpoint as .safetensors or .pth: `python -m tools.convert --model X.pth --output X.safetensors`."""

import hashlib
from collections.abc import Sequence
from typing import Any

import models
from evaluation.results import TIMES, label_of, read_results
from models.checkpoints.loading import load_content, load_upscaler, save_checkpoint
from models.checkpoints.safetensors_files import is_safetensors, released, save_safetensors
from models.lerf.tables import LookUpLeRF
from models.registry import weights_hash
from models.upscaler import Upscaler
from models.zoo import ENDINGS
from utils import cli
from utils.errors import InputError
from utils.files import check_new_target


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="tools.convert",
        description="Write a model of this project, or a file of LIIF, LTE, LMF, CiaoSR or LeRF, as .safetensors or "
        ".pth: the model with what people need who use it, without the state of its training.",
    )
    parser.add_argument("--model", required=True, help="checkpoint, folder of LeRF LUTs, or shipped model")
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
    if arguments.model in models.names("resampling"):
        raise InputError(f"--model {arguments.model} is a filter, which has no weights; name a checkpoint")
    content, upscaler = load_content(arguments.model), load_upscaler(arguments.model)
    made = completed(content, upscaler)
    if arguments.licence:
        made["licence"] = arguments.licence
    if arguments.figures:
        made["figures"] = figures(arguments.figures, weights_hash(upscaler.model))
    (save_safetensors if is_safetensors(target) else save_checkpoint)(target, made)
    weights, stored = weights_hash(load_upscaler(target).model), target.read_bytes()
    print(f"wrote {target}: {made['model']['name']}, weights {weights}")
    print(f"sha256: {hashlib.sha256(stored).hexdigest()}\nbytes: {len(stored)}")


def completed(content: dict[str, Any], upscaler: Upscaler) -> dict[str, Any]:
    """What of a checkpoint is released, its parameters in the model's order (LUTs in 8 bits), and what it left unsaid:
    normalisation, scales, layout of LUTs."""
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
