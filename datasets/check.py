"""Whether pictures can be read and are large enough: `python -m datasets.check load/train --config
configs/train-lmf/X.yaml`; train.py asks the same by their headers."""

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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


@dataclass
class Report:
    """What an examination found: (height, width) of the pictures that can be read, and one line for each that cannot,
    or is too small."""

    sizes: dict[Path, Size] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)
    small: dict[Path, str] = field(default_factory=dict)

    @property
    def faults(self) -> dict[Path, str]:
        return {**self.unreadable, **self.small}

    def lines(self) -> list[str]:
        """The report in words, every faulty picture by name."""
        lines = [f"{len(self.sizes) + len(self.unreadable)} pictures"]
        if self.sizes:
            (low_h, low_w), (high_h, high_w) = (ends(size, self.sizes.values()) for size in (min, max))
            pixels = sum(height * width for height, width in self.sizes.values())
            lines[0] += f": {low_w} to {high_w} wide, {low_h} to {high_h} high, {pixels / 1e6:.1f} megapixels"
        for title, faults in (("cannot be read", self.unreadable), ("are too small", self.small)):
            if faults:
                lines += [f"{len(faults)} {title}:", *(f"  {fault}" for fault in faults.values())]
        return lines if self.faults else [*lines, "all of them can be used"]


def ends(extreme: Callable, sizes: Sequence[Size]) -> Size:
    """The smallest, or largest, height and width of all."""
    return extreme(height for height, _ in sizes), extreme(width for _, width in sizes)


def examine(
    needs: Sequence[tuple[Sequence[Path], Size]], decode: bool, done: Callable[[], None] = lambda: None
) -> Report:
    """Examine pictures, each with the (height, width) that it needs at least: their headers, and their pixels too when
    `decode`. `done` is called after each."""

    def size_of(path: Path) -> Size | InputError:
        try:
            return read_rgb(path).shape[:2] if decode else picture_size(path)
        except InputError as error:
            return error

    report = Report()
    with ThreadPoolExecutor(available_processors()) as pool:
        try:
            for paths, (height, width) in needs:
                for path, size in zip(paths, pool.map(size_of, paths), strict=True):
                    if isinstance(size, InputError):
                        report.unreadable[path] = str(size)
                    else:
                        report.sizes[path] = size
                        if size[0] < height or size[1] < width:
                            report.small[path] = f"{path} is {size[1]}x{size[0]}, smaller than {width}x{height}"
                    done()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C does not wait for the pictures that remain
            raise
    return report


def check_samples(samples: ImplicitDataset, where: str) -> None:
    """InputError in one line that names pictures of a data set (`where` in the config) that cannot be read, by their
    headers, or are too small for it."""
    faults = list(examine(samples.needs(), decode=False).faults.values())
    if faults:
        more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise InputError(
            f"{where}: {'; '.join(faults[:NAMED])}{more}; remove them or lower inp_size or scale_max "
            "(python -m datasets.check --config CONFIG names all)"
        )


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="datasets.check",
        description="Count and sizes of pictures, and which cannot be read or are too small; exit status 1 if any.",
    )
    parser.add_argument("folder", nargs="?", help="pictures (default: those of --config)")
    parser.add_argument("--config", help="training config, whose crops the pictures have to hold")
    cli.add_set_option(parser)
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
