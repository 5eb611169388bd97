"""Drawn pictures, which photographs do not teach: text, tables, line art, plots, screens, pixel art, flat colours.

`python -m tools.make_drawings --output load/drawings --count 333 --seed 0 --fonts /usr/share/fonts`
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageFont
from tqdm import tqdm

from pictures.writing import write_picture
from tools.drawings import DRAWINGS, Sheet
from utils import cli
from utils.errors import InputError

FONT_ENDINGS = (".ttf", ".otf")


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(description="Text, line art, plots, screens and the like, as PNG files.")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="folder of the pictures; must not exist")
    parser.add_argument("--count", type=cli.count, required=True, help="number of pictures")
    parser.add_argument("--seed", type=cli.seed, default=0, help="of everything that is drawn")
    parser.add_argument(
        "--fonts", nargs="+", metavar="FOLDER", default=["/usr/share/fonts"], help="fonts, .ttf or .otf, at any depth"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> str:
    """Draws the pictures; returns what was written, in words."""
    arguments = parse_arguments(argv)
    output = Path(arguments.output)
    if output.exists():
        raise InputError(f"{output} is there; name another --output")
    fonts = find_fonts(arguments.fonts)
    for index in tqdm(range(arguments.count), disable=None):
        name = DRAWINGS[index % len(DRAWINGS)].__name__
        write_picture(output / f"{index:04d}_{name}.png", drawing(index, arguments.seed, fonts))
    return f"wrote {arguments.count} pictures with {len(fonts)} fonts to {output}"


def find_fonts(folders: Sequence[str | Path]) -> list[Path]:
    """The fonts with Latin letters in `folders`, by name; InputError where there is none."""
    files = {path.name: path for folder in folders for path in Path(folder).rglob("*") if path.suffix in FONT_ENDINGS}
    fonts = [files[name] for name in sorted(files) if has_letters(files[name])]
    if not fonts:
        raise InputError(f"no .ttf or .otf font with Latin letters in {' or '.join(map(str, folders))}; set --fonts")
    return fonts


def has_letters(path: Path) -> bool:
    """Whether a file is a font with letters of its own: those that it lacks all look the same."""
    try:
        font = ImageFont.truetype(str(path), 16)
    except OSError:
        return False
    return len({bytes(font.getmask(letter)) for letter in "aegQ1?"}) == 6


def drawing(index: int, seed: int, fonts: Sequence[Path]) -> np.ndarray:
    """Picture `index` of a set: (H, W, 3) uint8, every third in greys alone."""
    sheet = Sheet(random.Random(f"{seed} {index}"), fonts, grey=index % 3 == 0)
    DRAWINGS[index % len(DRAWINGS)](sheet)
    return sheet.pixels()


if __name__ == "__main__":
    cli.run(main)
