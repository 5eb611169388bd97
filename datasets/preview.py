"""A sheet of training items: `python -m datasets.preview configs/train-lmf/X.yaml --output sheet.png`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import datasets
from datasets.implicit import ImplicitDataset
from pictures.writing import write_picture
from utils import cli
from utils.config import check_types, load_config, require, whole
from utils.files import check_target
from utils.random_state import mixed, repeatable

SIDE = 192  # pixels of the square that a picture is shown in
GAP = 6
CAPTION = 16
PAPER, INK = (255, 255, 255), (0, 0, 0)


def spread(items: int, count: int) -> list[int]:
    """`count` items, or all, evenly over a data set: of every part of a mixture."""
    return sorted({round(index) for index in np.linspace(0, items - 1, min(items, count))})


def make_sheet(samples: ImplicitDataset, indices: Sequence[int], columns: int, seed: int) -> np.ndarray:
    """(H, W, 3) uint8: the LR picture, its pixels enlarged, beside the HR picture of each item as an epoch, the first,
    draws it, with their scale and the file below."""
    width, height = 2 * SIDE + 3 * GAP, SIDE + CAPTION + GAP
    sheet = Image.new("RGB", (min(columns, len(indices)) * width, -(-len(indices) // columns) * height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, index in enumerate(indices):
        left, top = number % columns * width + GAP, number // columns * height + GAP
        with repeatable(mixed(seed, 1, index)):
            lr, hr = samples.varied_pair(index)
        sheet.paste(shown(lr), (left, top))
        sheet.paste(shown(hr), (left + SIDE + GAP, top))
        caption = f"{lr.shape[1]}x{lr.shape[0]} -> {hr.shape[1]}x{hr.shape[0]}  {samples.path(index).name}"
        while font.getlength(caption) > width - 2 * GAP:
            caption = caption[:-1]
        draw.text((left, top + SIDE + 1), caption, INK, font)
    return np.array(sheet)


def shown(pixels: np.ndarray) -> Image.Image:
    """A picture in the square of SIDE: small ones with their pixels enlarged, large ones reduced."""
    factor = SIDE / max(pixels.shape[:2])
    size = tuple(max(1, round(side * factor)) for side in (pixels.shape[1], pixels.shape[0]))
    kernel = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BICUBIC
    return Image.fromarray(np.ascontiguousarray(pixels)).resize(size, kernel)


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
    cli.add_set_option(parser)
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
