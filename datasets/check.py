"""Finds pictures that cannot be read or are too small: `python -m datasets.check load/train --config
configs/train-lmf/X.yaml`; train.py checks the same by their headers."""

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

import datasets
from datasets.folders import picture_size
from datasets.implicit import ImplicitDataset
from pictures.reading import list_pictures, read_rgb
from utils import cli
from utils.config import load_config, require
from utils.errors import InputError
from utils.geometry.grids import Size
from utils.system import available_processors

NAMED = 3  # pictures that one line names
PARTS = ("train_dataset", "val_dataset")


def examine(
    needs: Sequence[tuple[Sequence[Path], Size]], decode: bool, done: Callable[[], None] = lambda: None
) -> tuple[list[Size], list[str]]:
    """Examine pictures, each with the (height, width) that it needs at least: their headers, and their pixels too when
    `decode`. The sizes of those that can be read, and a line for each that cannot or is too small. `done` is called
    after each."""

    def examined(need: tuple[Path, Size]) -> tuple[Size | None, str | None]:
        path, (height, width) = need
        try:
            size = read_rgb(path).shape[:2] if decode else picture_size(path)
        except InputError as error:
            return None, str(error)
        small = size[0] < height or size[1] < width
        return size, f"{path} is {size[1]}x{size[0]}, smaller than {width}x{height}" if small else None

    pictures, found = [(path, size) for paths, size in needs for path in paths], []
    with ThreadPoolExecutor(available_processors()) as pool, closing(pool.map(examined, pictures)) as results:
        for result in results:
            found.append(result)
            done()
    return [size for size, _ in found if size], [fault for _, fault in found if fault]


def check_samples(samples: ImplicitDataset, where: str) -> None:
    """InputError in one line that names pictures of a data set (`where` in the config) that cannot be read, by their
    headers, or are too small for it."""
    _, faults = examine(samples.needs(), decode=False)
    if faults:
        more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise InputError(
            f"{where}: {'; '.join(faults[:NAMED])}{more}; remove them or lower inp_size or scale_max "
            "(python -m datasets.check --config CONFIG names all)"
        )


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        description="Count and sizes of pictures, and which cannot be read or are too small; exit status 1 if any.",
    )
    parser.add_argument("folder", nargs="?", help="pictures (default: those of --config)")
    parser.add_argument("--config", help="training config, whose crops the pictures have to hold")
    cli.add_options(parser, "set")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    faulty = False
    for name, needs in parts_of(arguments).items():
        count = sum(len(paths) for paths, _ in needs)
        with tqdm(total=count, desc=name, leave=False, disable=None) as bar:
            sizes, faults = examine(needs, True, bar.update)
            line = f"{name}: {count} pictures"
            if sizes:
                heights, widths = zip(*sizes, strict=True)
                line += f": {min(widths)} to {max(widths)} wide, {min(heights)} to {max(heights)} high"
            end = [f"{len(faults)} cannot be used:", *(f"  {fault}" for fault in faults)]
            bar.write("\n".join([line, *(end if faults else ["all of them can be used"])]))
        faulty |= bool(faults)
    if faulty:
        sys.exit(1)


def parts_of(arguments: Any) -> dict[str, list[tuple[list[Path], Size]]]:
    """Pictures to examine with the size that they need, by the name of their part."""
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
