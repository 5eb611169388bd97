"""Examine pictures for a training: `python -m datasets.check load/train --config configs/train-lmf/X.yaml`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

import datasets
from datasets.check import examine
from pictures.reading import list_pictures
from utils import cli
from utils.config import load_config, require
from utils.errors import InputError
from utils.geometry.grids import Size

PARTS = ("train_dataset", "val_dataset")


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="datasets.check",
        description="Count and sizes of pictures, and which cannot be read or are too small; exit status 1 if any.",
    )
    parser.add_argument("folder", nargs="?", help="pictures (default: those of --config)")
    parser.add_argument("--config", help="training config, whose crops the pictures have to hold")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change a config value")
    parser.add_argument("--headers", action="store_true", help="read sizes alone, in seconds, as train.py does")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    faulty = False
    for name, needs in parts_of(arguments).items():
        with tqdm(total=sum(len(paths) for paths, _ in needs), desc=name, leave=False, disable=None) as bar:
            report = examine(needs, not arguments.headers, bar.update)
            first, *others = report.lines()
            bar.write("\n".join([f"{name}: {first}", *others]))
        faulty |= bool(report.faults)
    if faulty:
        sys.exit(1)


def parts_of(arguments: Any) -> dict[str, list[tuple[list[Path], Size]]]:
    """What to examine, by name: pictures with the size that they need."""
    if not arguments.config:
        if not arguments.folder or arguments.set:
            raise InputError("needs a folder of pictures, --config, or both; --set changes a config")
        return {arguments.folder: [(list_pictures(arguments.folder), (1, 1))]}
    config = load_config(arguments.config, arguments.set)
    require(config, "train_dataset", arguments.config)
    parts = {}
    for part in PARTS[:1] if arguments.folder else PARTS:
        if not config.get(part):
            continue
        spec = config[part]
        if arguments.folder:
            pictures = {"name": "image-folder", "args": {"root_path": arguments.folder}}
            spec = {**spec, "dataset": pictures} if isinstance(spec, Mapping) else spec
        parts[arguments.folder or part] = datasets.make_wrapped(without_caches(spec), part).needs()
    return parts


def without_caches(spec: Any) -> Any:
    """The spec of a data set that decodes each picture when it is asked for."""
    if isinstance(spec, Mapping):
        return {key: without_caches(value) for key, value in spec.items() if key != "cache"}
    return [without_caches(value) for value in spec] if isinstance(spec, list) else spec


if __name__ == "__main__":
    cli.run(main)
