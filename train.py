"""Train a model: `python train.py --config configs/train-lmf/train_edsr-baseline-lmliif.yaml --name my-run`; in N
processes: `torchrun --nproc-per-node N train.py ...`."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from training import folder as runs
from utils import cli, processes, system
from utils.config import check_keys, check_types, load_config


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(description="Train the model of a config; writes save/NAME.")
    parser.add_argument("--config", required=True, help="YAML file, see configs/train-lmf")
    parser.add_argument("--name", help="name of the run (default: _ and the config's)")
    parser.add_argument("--tag", help="appended to the name")
    parser.add_argument("--save-root", default="save", help="folder of all runs")
    cli.add_options(parser, "set")
    parser.add_argument("--resume", action="store_true", help="continue the run of this name")
    parser.add_argument("--auto-resume", action="store_true", help="as --resume where there is a run, else start")
    parser.add_argument("--overwrite", action="store_true", help="delete the run of this name and start anew")
    parser.add_argument(
        "--allow-changes", nargs="+", default=[], metavar="KEY", help="with --resume: settings that may differ now"
    )
    parser.add_argument(
        "--save-every", type=cli.interval, default="10m", metavar="N", help="save after so many steps, or minutes (5m)"
    )
    parser.add_argument("--max-minutes", type=cli.positive, help="save and stop cleanly after so long (default: never)")
    parser.add_argument(
        "--timeout",
        type=cli.positive,
        default=10,
        metavar="MINUTES",
        help="under torchrun: how long processes wait for each other before they end",
    )
    cli.add_options(parser, *cli.DEVICE)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    config = load_config(arguments.config, arguments.set)
    system.settle_threads(arguments.threads)
    work(config, arguments)


def work(config: dict[str, Any], arguments: Any) -> None:
    """Train the model of a config, from the start or as the run before ended."""
    from training.loop import train
    from training.setup import KINDS, accelerate, prepare
    from training.state import LAST, resume
    from utils.system import select_device

    check_keys(config, {kind.split(".")[0] for kind in KINDS}, arguments.config)
    check_types(config, KINDS, arguments.config)
    device, notice = select_device(arguments.device, arguments.gpu)
    folder = runs.run_folder(arguments.save_root, arguments.name or f"_{Path(arguments.config).stem}", arguments.tag)
    with (
        processes.watch(arguments.max_minutes) as stop,
        processes.joined(arguments.timeout, device.type == "cuda"),
        ExitStack() as held,
    ):
        arguments = runs.intended(folder, arguments)
        if processes.is_first():
            held.enter_context(runs.claimed(folder, arguments.resume, arguments.overwrite))
        run = processes.agreed(lambda: prepare(config, arguments, folder, device, stop))
        earlier, notices = resume(run, arguments)
        accelerate(run)
        if processes.is_first():
            if arguments.overwrite:
                runs.remove_run(folder)
            runs.write_config(folder, config, earlier, run.step)
        log = runs.run_logger(folder)
        for line in (notice, about(run), *run.notices, *notices):
            if line:
                log.info(line)
        train(run, log)
        if processes.is_first():
            print(f"wrote {folder}/{LAST}" + (f", best PSNR {run.best:.3f} dB" if run.best > -math.inf else ""))


def about(run: Any) -> str:
    """The first line of a run's log: model, steps and device."""
    parameters = sum(parameter.numel() for parameter in run.upscaler.model.parameters() if parameter.requires_grad)
    steps = f"{len(run.batches)} steps an epoch, {run.config['epoch_max']} epochs"
    several = f" in {processes.count()} processes" if processes.count() > 1 else ""
    return f"{run.config['model']['name']}: {parameters:,} parameters, {steps}, on {run.upscaler.device}{several}"


if __name__ == "__main__":
    cli.run(main)
