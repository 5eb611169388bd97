"""See what a config trains on: `python -m datasets.preview configs/train-lmf/X.yaml --output sheet.png`."""

from collections.abc import Sequence
from typing import Any

import datasets
from datasets.preview import make_sheet, spread
from pictures.writing import write_picture
from utils import cli
from utils.config import check_types, load_config, require, whole
from utils.files import check_target


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="datasets.preview", description="A sheet of LR and HR pictures as training draws them in its first epoch."
    )
    parser.add_argument("config", help="training config, see configs/train-lmf")
    parser.add_argument("--output", required=True, metavar="PICTURE", help="the sheet, such as sheet.png")
    parser.add_argument(
        "--part", choices=("train_dataset", "val_dataset"), default="train_dataset", help="of the config"
    )
    parser.add_argument("--count", type=cli.count, default=24, help="so many pairs, evenly over the data set")
    parser.add_argument("--columns", type=cli.count, default=4, help="pairs side by side")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a config value")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> str:
    """Writes the sheet; returns what was written, in words."""
    arguments = parse_arguments(argv)
    check_target(arguments.output)
    config = load_config(arguments.config, arguments.set)
    check_types(config, {"seed": whole(0)}, arguments.config)
    samples = datasets.make_wrapped(require(config, arguments.part, arguments.config), arguments.part)
    indices = spread(len(samples), arguments.count)
    write_picture(arguments.output, make_sheet(samples, indices, arguments.columns, config.get("seed") or 0))
    return f"wrote {len(indices)} of {len(samples)} items of {arguments.part} to {arguments.output}"


if __name__ == "__main__":
    cli.run(main)
