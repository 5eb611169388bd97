"""Whether pictures can be read and are large enough, before a training meets them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from datasets.folders import picture_size
from datasets.implicit import ImplicitDataset
from pictures.reading import read_rgb
from utils.errors import InputError
from utils.geometry.grids import Size
from utils.system import available_processors

NAMED = 3  # pictures that one line names


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
