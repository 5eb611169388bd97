"""Options of programs that write pictures: how large, where to, and how much of the input is kept."""

import argparse
import math
from collections.abc import Callable
from typing import Any

from pictures.formats import WRITTEN
from utils import cli
from utils.errors import InputError
from utils.geometry import sizes
from utils.geometry.sizes import Size, check_output_size, output_size

PROPORTIONAL = ("fit", "fill", "long_side", "megapixels")


def add_size_options(parser: argparse.ArgumentParser) -> None:
    """`--scale`, `--size` and others that say the same in proportion, of which one is given."""
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--scale", type=cli.scale, help="2.5, or 3x1.5 for height x width")
    size.add_argument("--size", type=_argument(sizes.parse_sides), help="1920x1080 (width x height), 1920x or x1080")
    size.add_argument("--fit", type=cli.size, metavar="WxH", help="as large as fits into this size")
    parser.add_argument(
        "--crop", type=crop, metavar="X,Y,W,H", help="only this part of the output, which is computed alone"
    )
    size.add_argument("--fill", type=cli.size, metavar="WxH", help="this size, filled; what stands out is cut off")
    size.add_argument("--long-side", type=cli.count, metavar="PIXELS", help="the longer side")
    size.add_argument("--megapixels", type=cli.positive, metavar="N", help="million pixels")


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """What is written where, and how much of the input is kept."""
    parser.add_argument("--suffix", metavar="TEXT", help="added to the names of results in a folder, such as _x4")
    endings = [ending[1:] for ending in WRITTEN]
    parser.add_argument("--format", choices=endings, help="of results in a folder, or of - (png unless given)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    existing.add_argument("--skip-existing", action="store_true", help="leave out pictures whose result is there")
    parser.add_argument(
        "--compression", type=cli.compression, metavar="0..9", help="of .png: 0 is large, 9 is slow (4 unless given)"
    )
    parser.add_argument(
        "--memory",
        type=cli.memory,
        metavar="SIZE",
        help="to use beside the input, as 2G (default: what is free); .png, .tif and .ppm beyond are made in strips",
    )
    parser.add_argument("--depth", type=int, choices=(8, 16), help="bits a channel (those of the input unless given)")
    parser.add_argument("--strict", action="store_true", help="fail where the output cannot hold what the input has")
    parser.add_argument("--strip-metadata", action="store_true", help="drop profile, EXIF, XMP, resolution and texts")


def crop(text: str) -> tuple[int, int, int, int]:
    """`x,y,width,height` -> whole numbers, of which the last two are from 1."""
    values = [int(part) for part in text.split(",") if part.isdecimal()]
    if text.count(",") != 3 or len(values) != 4 or 0 in values[2:]:
        raise argparse.ArgumentTypeError(f"expected X,Y,WIDTH,HEIGHT such as 100,50,128,128, not '{text}'")
    return tuple(values)


def finite(text: str) -> float:
    """A number that is not infinite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, not '{text}'")
    return value


def is_proportional(arguments: Any) -> bool:
    """Whether the size is asked for by one of PROPORTIONAL."""
    return any(getattr(arguments, name) is not None for name in PROPORTIONAL)


def upright_size(size: Size, arguments: Any) -> Size:
    """(H, W) that an (h, w) picture is enlarged to; more than asked for with `--fill`, where some is cut off."""
    if arguments.size:
        return check_output_size(sizes.size_of_sides(size, arguments.size))
    if arguments.fit:
        return sizes.size_within(size, arguments.fit)
    if arguments.fill:
        return sizes.size_around(size, arguments.fill)
    if arguments.megapixels:
        return sizes.size_of_area(size, arguments.megapixels)
    if arguments.long_side:
        return sizes.size_within(size, (arguments.long_side, arguments.long_side))
    return output_size(size, arguments.scale)


def _argument(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """As the `type` of an argument, whose errors are argparse's."""

    def typed(text: str) -> Any:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return typed
