"""Test sets from any HR pictures: asymmetric scales and homographies in LeRF's layout, and pictures as a phone takes
them, blurred, noisy and compressed.

`python -m tools.make_benchmark load/Set5/HR --scales 1.5x2.0,2.4 --warps isc,osc --seed 0`
`python -m tools.make_benchmark load/samples --output load/degraded --scales 4 --degraded weak,medium,strong`
"""

import math
import zlib
from argparse import ArgumentTypeError
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from datasets.degradation import Blur, Noise, encoded
from datasets.folders import MATRIX_ENDINGS, picture_size
from datasets.wrappers import whole_sizes
from models.resampling.filters import CatmullRom
from models.upscaler import Upscaler
from pictures.reading import list_pictures, read_rgb
from pictures.tensors import resize_bicubic, to_pixels, to_tensor
from pictures.writing import write_picture
from utils import cli
from utils.errors import InputError
from utils.files import atomic_file
from utils.geometry.homographies import Homography, write_homography
from utils.geometry.sizes import Scale, Size, check_output_size, scale_text

# Range of scales, and how far each corner may move inwards as a share of the side: within the scales that models were
# trained for ("in scale"), and beyond them ("out of scale").
WARPS = {"isc": ((1.5, 4.0), 0.15), "osc": ((4.0, 8.0), 0.25)}
SMALLEST_SIDE = 12  # LR pixels: scores leave out 4 at each border


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
        description="Make LR pictures at pairs of scales and under homographies, or degraded ones.",
    )
    parser.add_argument("folder", help="HR pictures, such as load/Set5/HR")
    parser.add_argument("--scales", type=cli.scales, default=[], help="such as 1.5x2.0,2.4 (height x width)")
    parser.add_argument("--warps", type=partial(names, WARPS), default=[], help="isc (scales 1.5 to 4), osc (4 to 8)")
    parser.add_argument(
        "--degraded", type=partial(names, STRENGTHS), help="weak, medium, strong: JPEG files in OUTPUT/STRENGTH/xSCALE"
    )
    parser.add_argument("--seed", type=cli.seed, default=0, help="of what is random, as are the file names")
    parser.add_argument("--output", help="folder of what is made (default: the one that holds the HR folder)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing pictures")
    return parser.parse_args(argv)


def names(known: Collection[str], text: str) -> list[str]:
    """`isc,osc` -> some of the `known` names."""
    found = text.split(",")
    if not set(found) <= set(known):
        raise ArgumentTypeError(f"expected {' or '.join(known)} with commas between, not '{text}'")
    return found


def main(argv: Sequence[str] | None = None) -> str:
    """Make the sets; returns a sentence that says what was written."""
    arguments = parse_arguments(argv)
    if arguments.degraded and not arguments.scales:
        raise InputError("--degraded needs --scales, such as 4")
    if not (arguments.scales or arguments.warps):
        raise InputError("nothing to make; give --scales or --warps")
    folder = Path(arguments.folder)
    pictures = list_pictures(folder)
    output = Path(arguments.output) if arguments.output else folder.resolve().parent
    sets: list[tuple[Path, Callable[[np.ndarray, Path, np.random.Generator], None], str]] = []
    for scale in arguments.scales:
        for name in arguments.degraded or ():
            place = output / name / f"x{scale_text(scale)}"
            sets.append((place, partial(write_degraded, scale, STRENGTHS[name]), name))
        if not arguments.degraded:
            place = output / "LR_bicubic" / f"rrLR_X{scale[0]:.2f}_{scale[1]:.2f}"
            sets.append((place, partial(write_reduced, scale), ""))
    sets += [(output / warp, partial(write_warped, *WARPS[warp]), warp) for warp in arguments.warps]
    check(pictures, [place for place, *_ in sets], arguments)
    for path in tqdm(pictures, disable=None):
        hr = read_rgb(path)
        for place, write, name in sets:
            source = np.random.default_rng([arguments.seed, zlib.crc32(f"{name} {path.stem}".encode())])
            write(hr, place / path.stem, source)
    return f"wrote {len(pictures) * len(sets)} pictures to {output}"


def check(pictures: Sequence[Path], places: Sequence[Path], arguments: Any) -> None:
    """Raises InputError, before anything is written, for pictures that would be overwritten or cannot be made."""
    stems = [path.stem for path in pictures]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise InputError(f"{pictures[0].parent} has several pictures named {twice}; LR pictures are known by that name")
    if len(set(places)) < len(places):
        raise InputError("--scales: folders are named with two decimals, and two of these scales have the same name")
    for place in places:
        if place.exists() and not arguments.overwrite:
            raise InputError(f"{place} is there; name another --output, or --overwrite it")
    for path in pictures:
        for scale in arguments.scales:
            size = reduced_size(picture_size(path), scale)
            if min(size) < 1:
                raise InputError(f"{path} is too small for a scale of {scale_text(scale)}")
            check_output_size(size)


def write_reduced(scale: Scale, hr: np.ndarray, path: Path, source: np.random.Generator) -> None:
    """The largest upper left part of (H, W, 3) uint8 that `scale` reduces to whole pixels, by Pillow's bicubic."""
    height, width = reduced_size(hr.shape[:2], scale)
    box = (0, 0, width * scale[1], height * scale[0])
    lr = Image.fromarray(hr).resize((width, height), Image.Resampling.BICUBIC, box=box)
    write_picture(path.with_name(f"{path.name}.png"), np.array(lr))


def reduced_size(size: Size, scale: Scale) -> Size:
    """LR size of an (H, W) picture: of the longest part of each side with whole numbers of LR and HR pixels, if that
    cuts at most 5 %."""

    def reduced(side: int, factor: float) -> int:
        longest = int(side / factor + 1e-9)
        candidates = range(longest, int(0.95 * longest), -1)
        return next((n for n in candidates if abs(n * factor - round(n * factor)) < 1e-6), longest)

    return reduced(size[0], scale[0]), reduced(size[1], scale[1])


def write_degraded(scale: Scale, strength: Strength, hr: np.ndarray, path: Path, source: np.random.Generator) -> None:
    """The LR picture of (H, W, 3) uint8, which is first cut at the right and bottom as wrappers of whole pictures do,
    as a JPEG file: blurred, reduced, noisy."""
    lr_size, (height, width) = whole_sizes(hr.shape[:2], scale)
    blur, noise = Blur(sigma=strength.blur, kernels={"anisotropic": 1}), Noise(sigma=strength.noise)
    lr = resize_bicubic(blur(hr[:height, :width], lr_size, source), lr_size)
    with atomic_file(path.with_name(f"{path.name}.jpg")) as temporary:
        temporary.write_bytes(encoded(noise(lr, lr_size, source), strength.quality))


def write_warped(
    scales: tuple[float, float], inwards: float, hr: np.ndarray, path: Path, source: np.random.Generator
) -> None:
    """(H, W, 3) uint8 under a random homography, resampled with antialiasing, and that homography."""
    homography, size = random_homography(hr.shape[:2], scales, inwards, source)
    seen = Upscaler(CatmullRom())(to_tensor(hr), homography.inverse().grid(hr.shape[:2], size))[0]
    write_picture(path.with_name(f"{path.name}.png"), to_pixels(seen))
    write_homography(path.with_name(f"{path.name}.txt"), homography)
    for ending in MATRIX_ENDINGS:  # of an earlier one, which would be left beside it
        if ending != ".txt":
            path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)


def random_homography(
    size: Size, scales: tuple[float, float], inwards: float, generator: np.random.Generator
) -> tuple[Homography, Size]:
    """A homography from an LR picture into an (H, W) picture, and the LR size (h, w): the LR corners go to random
    places up to `inwards` of a side inside the corners of the HR picture, at a scale from `scales`."""
    scale = math.exp(generator.uniform(*map(math.log, scales)))
    lr = tuple(max(SMALLEST_SIDE, round(side / scale)) for side in size)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)  # (x, y), as parts of a side
    moved = corners + np.where(corners == 0, 1, -1) * generator.uniform(0, inwards, (4, 2))
    source, target = (edges * np.array([n[1], n[0]]) - 0.5 for edges, n in ((corners, lr), (moved, size)))
    return Homography(between(torch.from_numpy(source), torch.from_numpy(target))), lr


def between(source: Tensor, target: Tensor) -> Tensor:
    """The matrix (3, 3) that maps four points (x, y) to four others (4, 2), its last entry 1."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    solution = torch.linalg.solve(torch.tensor(rows, dtype=torch.float64), torch.tensor(values, dtype=torch.float64))
    return torch.cat([solution, torch.ones(1, dtype=torch.float64)]).view(3, 3)


if __name__ == "__main__":
    cli.run(main)
