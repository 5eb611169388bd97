"""Time, memory and multiply-adds of models: the figures in docs/. See `python -m tools.bench --help`."""

import dataclasses
import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch

from pictures.formats import check_writable
from tools.bench import compare, costs, figures, gpu, measures, web
from utils import cli
from utils.errors import InputError
from utils.files import atomic_file

MODULES = (measures, web, costs, compare, gpu)  # each adds its commands, whose `run` makes the report


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(description="Measure models on this machine. Compare ratios, not seconds, across machines.")
    commands = parser.add_subparsers(dest="command", required=True)
    common = cli.Parser(add_help=False)
    common.add_argument("--threads", type=cli.count, default=torch.get_num_threads(), help="CPU threads")
    common.add_argument("--json", help="also write the figures to this file")
    for module in MODULES:
        module.add_commands(commands, common)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if plot := vars(arguments).get("plot"):
        if find_spec("matplotlib") is None:
            raise InputError("plots need matplotlib; run pip install matplotlib")
        check_writable(plot)
    torch.set_num_threads(arguments.threads)
    report = arguments.run(arguments)
    settings = {key: value for key, value in vars(arguments).items() if key not in ("json", "plot", "run")}
    for name, figure in report.get("figures", {}).items():
        print(f"{name:48} {figure:.4g}" if isinstance(figure, float) else f"{name:48} {figure}")
    if arguments.json:
        content = {"settings": settings, "machine": figures.machine(), **report}
        with atomic_file(arguments.json) as temporary:
            temporary.write_text(json.dumps(content, indent=1, default=dataclasses.asdict))
        print(f"wrote {arguments.json}")
    if plot:
        print(f"wrote {plot}")


if __name__ == "__main__":
    cli.run(main)
