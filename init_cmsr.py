"""Make a scale2mod table: `python init_cmsr.py --config configs/cmsr/init-div2k-x2.yaml --model M.pth --save_path
T.yaml`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.zoo import resolve
from utils import cli, processes, system
from utils.config import MAPPING, check_keys, check_types, load_config, require
from utils.errors import InputError
from utils.registry import MEASURES, RULES

TARGETS = "2,3,4,6,8,12,18"


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(description="Make or extend the scale2mod table of a model for CMSR.")
    parser.add_argument("--config", required=True, help="YAML file with the pictures, see configs/cmsr")
    parser.add_argument("--model", required=True, help="checkpoint of an LM-LIIF, LM-LTE or LM-CiaoSR")
    parser.add_argument(
        "--mse_threshold",
        type=float,
        default=2e-5,
        help="allowed squared error: of normalised values as published, of values in [0, 1] by the pooled rule",
    )
    parser.add_argument("--save_path", required=True, help="the table, extended where it exists")
    parser.add_argument("--scales", type=cli.numbers, help=f"target scales (default: the test_dataset's, or {TARGETS})")
    parser.add_argument("--measure", choices=MEASURES, default="intensity", help="what an LR pixel is judged by")
    parser.add_argument("--rule", choices=RULES, default="published", help="pooled: one error budget for all pictures")
    cli.add_options(parser, "set")
    parser.add_argument("--force", action="store_true", help="replace a table that was made otherwise")
    cli.add_options(parser, "precision", *cli.DEVICE)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if not 0 <= arguments.mse_threshold < math.inf:
        raise InputError(f"--mse_threshold {arguments.mse_threshold:g}: expected a number from 0")
    config = as_ours(load_config(arguments.config, arguments.set), arguments.config)
    arguments.scales = arguments.scales or config.get("scales") or cli.numbers(TARGETS)
    resolve(arguments.model)
    system.settle_threads(arguments.threads)
    make_table(config, arguments)


def as_ours(config: dict[str, Any], where: str) -> dict[str, Any]:
    """`{dataset, data_norm}`, and the `scales` where LMF's file says so: there it is a `test_dataset` with a scale, at
    the top or under a key that repeats the file's name, or has that key left over beside it."""
    named = [config.pop(key) for key in [*config] if key.startswith("init-")]
    if named and not {"dataset", "test_dataset"} & config.keys() and isinstance(named[0], dict):
        config = named[0]
    if "test_dataset" not in config:
        check_keys(config, ("dataset", "data_norm"), where)
        return config
    check_keys(config, ("test_dataset", "data_norm", "eval_type", "eval_bsize"), where)
    parts = ("test_dataset", "test_dataset.wrapper", "test_dataset.wrapper.args")
    check_types(config, dict.fromkeys(parts, MAPPING), where)
    wrapper = require(config["test_dataset"], "wrapper", f"{where}: test_dataset")
    scale = require(wrapper.get("args") or {}, "scale_min", f"{where}: test_dataset.wrapper.args")
    return {"dataset": config["test_dataset"], "data_norm": config.get("data_norm"), "scales": [scale]}


def make_table(config: dict[str, Any], arguments: Any) -> None:
    """Measure the pictures of the config and save the table after each target."""
    from tqdm import tqdm

    import datasets
    from models.checkpoints.loading import load_upscaler
    from models.cmsr.calibration import level_errors, make_levels
    from models.cmsr.tables import ScaleTable, check_controllable, save_table
    from models.registry import weights_hash
    from pictures.tensors import to_tensor
    from utils.random_state import repeatable
    from utils.system import select_device

    device, notice = select_device(arguments.device, arguments.gpu)
    if notice:
        print(notice)
    upscaler = load_upscaler(arguments.model, device, config.get("data_norm"), precision=arguments.precision)
    check_controllable(upscaler, arguments.model)
    samples = datasets.make_wrapped(require(config, "dataset", arguments.config), "dataset")
    about = {
        "model": weights_hash(upscaler.model),
        "measure": arguments.measure,
        "rule": arguments.rule,
        "mse_threshold": arguments.mse_threshold,
        "precision": upscaler.precision,
    }
    path = Path(arguments.save_path)
    levels, configs = existing_levels(path, about, arguments.force)
    about["data"] = ", ".join(dict.fromkeys([*configs, Path(arguments.config).name]))  # LMF has one for each target
    made: list[str] = []
    try:
        with processes.watch():
            for target in arguments.scales:
                errors = []
                for index in tqdm(range(len(samples)), desc=f"x{target:g}", leave=False, disable=None):
                    with repeatable(index):
                        latent = upscaler.encode(to_tensor(samples.pair(index)[0]))
                    errors.append(level_errors(upscaler, latent, target, arguments.measure, arguments.rule))
                largest = upscaler.model.intensity_range
                levels[target] = make_levels(errors, target, arguments.rule, arguments.mse_threshold, largest)
                save_table(path, ScaleTable(levels, about))
                made.append(f"{target:g}")
    except processes.Stopped as stopped:
        left = ",".join(f"{target:g}" for target in arguments.scales[len(made) :])
        raise processes.Stopped(f"{stopped}; --scales {left} goes on", stopped.status) from None
    print(f"wrote {path}: targets {', '.join(f'x{target:g}' for target in sorted(levels))}")


def existing_levels(path: Path, about: dict[str, Any], force: bool) -> tuple[dict[float, Any], list[str]]:
    """The levels of the table at `path`, and the configs it was made by, none where there is no table; InputError when
    it was made for other weights or by another rule."""
    from models.cmsr.tables import load_table

    if not path.exists() or force:
        return {}, []
    table = load_table(path, about["model"])
    for key, value in about.items():
        before = table.about.get(key, "float32" if key == "precision" else None)
        if before != value:
            raise InputError(f"{path} was made with {key} {before}, not {value}; --force replaces it")
    return dict(table.levels), [name for name in (table.about.get("data") or "").split(", ") if name]


if __name__ == "__main__":
    cli.run(main)
