"""Crops of pictures that models restore, side by side with the truth:
`python -m tools.crops load/samples/coffee.png:180,120,96,96 --scale 4 --models bicubic s --output crops.png`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import models
from datasets.implicit import whole_sizes
from models.checkpoints.loading import load_upscaler
from models.upscaler import Upscaler
from painting.sheets import Crop, Row, crop_text, enlarged, input_of, labelled_sheet
from pictures.options import crop
from pictures.reading import list_pictures, read_rgb
from pictures.similarity import psnr
from pictures.tensors import resize_bicubic, to_pixels, to_tensor
from pictures.writing import write_picture
from tools.bench.measures import short_name
from utils import cli
from utils.errors import InputError
from utils.files import check_new_target


@dataclass(frozen=True)
class Part:
    """A crop of a picture's file."""

    path: Path
    crop: Crop


def part(text: str) -> Part:
    """`PICTURE:X,Y,WIDTH,HEIGHT`."""
    path, separator, numbers = text.rpartition(":")
    if not (separator and path):
        raise argparse.ArgumentTypeError(f"expected PICTURE:X,Y,WIDTH,HEIGHT, not '{text}'")
    return Part(Path(path), crop(numbers))


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="tools.crops",
        description="A sheet of crops: the LR picture, what models make of it with their PSNR there (RGB), the truth.",
    )
    parser.add_argument("crops", nargs="+", type=part, metavar="PICTURE:X,Y,WIDTH,HEIGHT", help="crops of HR pictures")
    parser.add_argument("--scale", type=cli.scale, default="4", help="such as 4")
    parser.add_argument("--lr", metavar="FOLDER", help="LR pictures, by names (default: made by Pillow's bicubic)")
    parser.add_argument(
        "--models",
        nargs="+",
        default=["bicubic", "s"],
        help=f"checkpoints, or filters: {', '.join(models.names('resampling'))}",
    )
    parser.add_argument("--output", required=True, metavar="PICTURE", help="the sheet, such as crops.png")
    parser.add_argument("--overwrite", action="store_true", help="replace the file")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> str:
    """Writes the sheet; returns what was written, in words."""
    arguments = parse_arguments(argv)
    target = check_new_target(arguments.output, arguments.overwrite)
    pairs = {each.path: read_pair(each.path, arguments.scale, arguments.lr) for each in arguments.crops}
    for each in arguments.crops:
        check_inside(each, pairs[each.path][1].shape[:2])
    upscalers = [load_upscaler(name) for name in arguments.models]
    rows = [row(each, *pairs[each.path], upscalers) for each in arguments.crops]
    labels = ("input", *map(short_name, arguments.models), "truth")
    write_picture(target, labelled_sheet(labels, rows))
    return f"wrote {target}"


def read_pair(path: Path, scale: tuple[float, float], folder: str | None) -> tuple[np.ndarray, np.ndarray]:
    """LR and HR pictures, (h, w, 3) and (H, W, 3) uint8, the latter cut to whole multiples of the LR size."""
    hr = read_rgb(path)
    lr_size, (height, width) = whole_sizes(hr.shape[:2], scale)
    hr = hr[:height, :width]
    if folder is None:
        return resize_bicubic(hr, lr_size), hr
    source = next((each for each in list_pictures(folder) if each.stem == path.stem), None)
    if source is None:
        raise InputError(f"{folder} has no picture named {path.stem}; add it, or name another --lr")
    lr = read_rgb(source)
    if lr.shape[:2] != lr_size:
        found, expected = (f"{size[1]}x{size[0]}" for size in (lr.shape, lr_size))
        raise InputError(f"{source} is {found}, not {expected}; name LR pictures of this --scale")
    return lr, hr


def check_inside(part: Part, size: tuple[int, int]) -> None:
    """InputError for a crop that leaves a picture of (H, W)."""
    x, y, width, height = part.crop
    if x + width > size[1] or y + height > size[0]:
        raise InputError(f"{part.path}: the crop {crop_text(part.crop)} leaves {size[1]}x{size[0]}; move it inside")


def row(part: Part, lr: np.ndarray, hr: np.ndarray, upscalers: Sequence[Upscaler]) -> Row:
    """What models make of a crop of the HR picture, between what is known of it and the truth."""
    x, y, width, height = part.crop
    truth = hr[y : y + height, x : x + width]
    tiles, captions = [], [f"{part.path.stem} {crop_text(part.crop)}"]
    for upscaler in upscalers:
        made = upscaler(to_tensor(lr), hr.shape[:2])[0].cpu()[:, y : y + height, x : x + width]
        tiles.append(Image.fromarray(to_pixels(made)))
        captions.append(f"{psnr(made, to_tensor(truth)):.2f} dB")
    known = input_of(Image.fromarray(lr), hr.shape[:2], part.crop, Image.Resampling.NEAREST)
    return Row(enlarged([known, *tiles, Image.fromarray(truth)]), captions)


if __name__ == "__main__":
    cli.run(main)
