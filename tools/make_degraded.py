"""LR pictures as a phone takes them, to judge models on: blurred, reduced, noisy, JPEG files.

`python -m tools.make_degraded load/samples --output load/degraded --scale 4 --seed 0`
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from datasets.degradation import Blur, Noise, encoded
from datasets.folders import picture_size
from datasets.wrappers import whole_sizes
from pictures.reading import list_pictures, read_rgb
from pictures.tensors import resize_bicubic
from utils import cli
from utils.errors import InputError
from utils.files import atomic_file
from utils.geometry.sizes import Scale, check_output_size, scale_text


@dataclass(frozen=True)
class Strength:
    """Ranges of a blur's standard deviation in LR pixels and of a noise's in levels, and JPEG's quality."""

    blur: tuple[float, float]
    noise: tuple[float, float]
    quality: int


STRENGTHS = {
    "weak": Strength((0.2, 0.4), (1, 2), 85),
    "medium": Strength((0.3, 0.6), (3, 5), 65),
    "strong": Strength((0.5, 0.9), (6, 10), 40),
}


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="make_degraded", description="Blurred and noisy LR pictures as JPEG files, in OUTPUT/STRENGTH/xSCALE."
    )
    parser.add_argument("folder", help="HR pictures, such as load/samples")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="folder of the sets that are made")
    parser.add_argument(
        "--strength", nargs="+", choices=tuple(STRENGTHS), default=list(STRENGTHS), help="how much (default: each)"
    )
    parser.add_argument("--scale", type=cli.scale, default="4", help="such as 4, 2.5 or 3x1.5 (height x width)")
    parser.add_argument("--seed", type=cli.seed, default=0, help="of blur and noise, which also follow from file names")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> str:
    """Makes the sets; returns what was written, in words."""
    arguments = parse_arguments(argv)
    folder = Path(arguments.folder)
    pictures = list_pictures(folder)
    places = {name: Path(arguments.output) / name / f"x{scale_text(arguments.scale)}" for name in arguments.strength}
    check(pictures, places.values(), arguments.scale)
    for path in tqdm(pictures, disable=None):
        hr = read_rgb(path)
        for name, place in places.items():
            source = np.random.default_rng([arguments.seed, zlib.crc32(f"{name} {path.stem}".encode())])
            with atomic_file(place / f"{path.stem}.jpg") as temporary:
                temporary.write_bytes(degraded(hr, arguments.scale, STRENGTHS[name], source))
    return f"wrote {len(pictures)} pictures each to {', '.join(map(str, places.values()))}"


def check(pictures: Sequence[Path], places: Sequence[Path], scale: Scale) -> None:
    """InputError, before anything is written, for names that are taken and pictures too small or too large."""
    stems = [path.stem for path in pictures]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise InputError(f"{pictures[0].parent} has several pictures named {twice}; rename all but one")
    for place in places:
        if place.exists():
            raise InputError(f"{place} is there; name another --output, or remove it")
    for path in pictures:
        size = picture_size(path)
        if any(side < factor for side, factor in zip(size, scale, strict=True)):
            raise InputError(f"{path} is {size[1]}x{size[0]}, too small for scale {scale_text(scale)}")
        check_output_size(whole_sizes(size, scale)[0])


def degraded(hr: np.ndarray, scale: Scale, strength: Strength, source: np.random.Generator) -> bytes:
    """The JPEG file of the LR picture of (H, W, 3) uint8, which is first cut at the right and bottom as wrappers of
    whole pictures do."""
    lr_size, (height, width) = whole_sizes(hr.shape[:2], scale)
    blur = Blur(sigma=strength.blur, kernels={"anisotropic": 1})
    noise = Noise(sigma=strength.noise)
    lr = resize_bicubic(blur(hr[:height, :width], lr_size, source), lr_size)
    return encoded(noise(lr, lr_size, source), strength.quality)


if __name__ == "__main__":
    cli.run(main)
