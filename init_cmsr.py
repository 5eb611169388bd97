"""Make a scale2mod table: `python init_cmsr.py --config configs/cmsr/init-div2k-x2.yaml --model M.pth --save_path
T.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.zoo import resolve
from utils import cli, processes, system
from utils.config import check_keys, load_config, require
from utils.errors import InputError
from utils.files import atomic_file
from utils.names import MEASURES, RULES

if TYPE_CHECKING:
    from models.cmsr.calibration import LevelErrors
    from models.cmsr.tables import ScaleTable

TARGETS = "2,3,4,6,8,12,18"


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(prog="init_cmsr.py", description="Make or extend the scale2mod table of a model for CMSR.")
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
    cli.add_set_option(parser)
    parser.add_argument("--force", action="store_true", help="replace a table that was made otherwise")
    cli.add_precision_option(parser, default="float32")
    cli.add_device_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.mse_threshold < 0:
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
    wrapper = require(config["test_dataset"], "wrapper", f"{where}: test_dataset")
    scale = require(wrapper.get("args") or {}, "scale_min", f"{where}: test_dataset.wrapper.args")
    return {"dataset": config["test_dataset"], "data_norm": config.get("data_norm"), "scales": [scale]}


def make_table(config: dict[str, Any], arguments: Any) -> None:
    """Measure the pictures of the config and save the table."""
    import datasets
    from models.checkpoints.loading import load_upscaler
    from models.cmsr.calibration import make_levels
    from models.cmsr.tables import ScaleTable, check_controllable, save_table
    from models.registry import weights_hash
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
        "data": Path(arguments.config).name,
        "precision": upscaler.precision,
    }
    path = Path(arguments.save_path)
    earlier = existing_levels(path, about, arguments.force)
    about = {**earlier.about, **about, "data": joined(earlier.about.get("data"), about["data"])}

    partial = path.with_suffix(".partial")
    with processes.watch() as stop:
        try:
            key = {**about, "scales": arguments.scales, "dataset": config["dataset"]}
            errors = measure_pictures(upscaler, samples, arguments, key, partial, stop)
        except processes.Stopped as stopped:
            raise processes.Stopped(f"{stopped}; the same command goes on from {partial}", stopped.status) from None
    largest = upscaler.model.intensity_range
    made = {
        target: make_levels(pictures, target, arguments.rule, arguments.mse_threshold, largest)
        for target, pictures in errors.items()
    }
    levels = {**earlier.levels, **made}
    save_table(path, ScaleTable(levels, about))
    partial.unlink(missing_ok=True)
    print(f"wrote {path}: targets {', '.join(f'x{target:g}' for target in sorted(levels))}")


def joined(before: str | None, now: str) -> str:
    """Names of configs, each once: LMF has one for each target."""
    return ", ".join(dict.fromkeys([*(before.split(", ") if before else ()), now]))


def existing_levels(path: Path, about: dict[str, Any], force: bool) -> ScaleTable:
    """The table at `path`, empty where there is none; InputError when it was made for other weights or by another
    rule."""
    from models.cmsr.tables import ScaleTable, load_table

    if not path.exists() or force:
        return ScaleTable({})

    table = load_table(path, about["model"])
    for key, value in ((key, value) for key, value in about.items() if key != "data"):
        before = table.about.get(key, "float32" if key == "precision" else None)
        if before != value:
            raise InputError(f"{path} was made with {key} {before}, not {value}; --force replaces it")
    return table


def measure_pictures(
    upscaler: Any, samples: Any, arguments: Any, key: dict[str, Any], partial: Path, stop: processes.Watch
) -> dict[float, list[list[LevelErrors]]]:
    """The errors of all levels on all pictures, for each target; kept in `partial` now and then, to go on after a stop
    where all that they depend on, the `key`, is the same."""
    import torch
    from tqdm import tqdm

    from models.cmsr.calibration import LevelErrors, level_errors
    from pictures.tensors import to_tensor
    from utils.random_state import repeatable

    done: list[dict[float, list[tuple]]] = []
    if partial.exists():
        try:
            state = torch.load(partial, weights_only=True)
            done = state["done"] if state["key"] == key else []
        except Exception as error:  # whatever a damaged file makes PyTorch raise
            raise InputError(f"{partial} cannot be read ({type(error).__name__}); delete it to start over") from None
    for index in tqdm(range(len(done), len(samples)), initial=len(done), total=len(samples), disable=None):
        with stop.deferred():
            with repeatable(index):
                lr, _ = samples.pair(index)
            latent = upscaler.encode(to_tensor(lr))
            picture = {}
            for target in arguments.scales:
                levels = level_errors(upscaler, latent, target, arguments.measure, arguments.rule)
                picture[target] = [(level.scale, level.measure, level.error, level.count) for level in levels]
            done.append(picture)
            if stop.wanted or len(done) % 20 == 0:
                with atomic_file(partial) as temporary:
                    torch.save({"key": key, "done": done}, temporary)
    return {
        target: [[LevelErrors(*level) for level in picture[target]] for picture in done] for target in arguments.scales
    }


if __name__ == "__main__":
    cli.run(main)
