"""Test sets of asymmetric scales and of homographies from any HR pictures, in LeRF's layout.

`python -m tools.make_benchmark load/Set5/HR --scales 1.5x2.0,2.4 --warps isc,osc --seed 0`
"""

import math
import zlib
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from datasets.folders import MATRIX_ENDINGS, picture_size
from models.resampling.filters import CatmullRom
from models.upscaler import Upscaler
from pictures.reading import list_pictures, read_rgb
from pictures.tensors import to_pixels, to_tensor
from pictures.writing import write_picture
from utils import cli
from utils.errors import InputError
from utils.geometry.homographies import Homography, write_homography
from utils.geometry.sizes import Scale, Size, check_output_size, scale_text

# Range of scales, and how far each corner may move inwards as a share of the side: within the scales that models were
# trained for ("in scale"), and beyond them ("out of scale").
WARPS = {"isc": ((1.5, 4.0), 0.15), "osc": ((4.0, 8.0), 0.25)}
SMALLEST_SIDE = 12  # LR pixels: scores leave out 4 at each border


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="tools.make_benchmark", description="Make LR pictures at pairs of scales and under homographies."
    )
    parser.add_argument("folder", help="HR pictures, such as load/Set5/HR")
    parser.add_argument("--scales", type=cli.scales, default=[], help="such as 1.5x2.0,2.4 (height x width)")
    parser.add_argument("--warps", type=warps, default=[], help="isc (scales 1.5 to 4), osc (4 to 8), or both")
    parser.add_argument(
        "--seed", type=cli.seed, default=0, help="seed of the homographies, which also depend on the file name"
    )
    parser.add_argument(
        "--output", help="folder of LR_bicubic, isc and osc (default: the one that holds the HR folder)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing pictures")
    return parser.parse_args(argv)


def warps(text: str) -> list[str]:
    """`isc,osc` -> names of WARPS."""
    names = text.split(",")
    if not set(names) <= set(WARPS):
        raise ArgumentTypeError(f"expected {' or '.join(WARPS)} with commas between, not '{text}'")
    return names


def main(argv: Sequence[str] | None = None) -> str:
    """Make the set; returns a sentence that says what was written."""
    arguments = parse_arguments(argv)
    if not (arguments.scales or arguments.warps):
        raise InputError("nothing to make; give --scales or --warps")
    folder = Path(arguments.folder)
    pictures = list_pictures(folder)
    output = Path(arguments.output) if arguments.output else folder.resolve().parent
    places = {scale: output / "LR_bicubic" / f"rrLR_X{scale[0]:.2f}_{scale[1]:.2f}" for scale in arguments.scales}
    check(pictures, list(places.values()), [output / warp for warp in arguments.warps], arguments)
    for path in tqdm(pictures, disable=None):
        hr = read_rgb(path)
        for scale, place in places.items():
            write_picture(place / f"{path.stem}.png", shrunk(hr, scale, path))
        for warp in arguments.warps:
            generator = np.random.default_rng([arguments.seed, zlib.crc32(f"{warp} {path.stem}".encode())])
            homography, size = random_homography(hr.shape[:2], *WARPS[warp], generator)
            write_picture(output / warp / f"{path.stem}.png", to_pixels(seen(to_tensor(hr), homography, size)))
            write_homography(output / warp / f"{path.stem}.txt", homography)
    return f"wrote {len(pictures) * (len(places) + len(arguments.warps))} pictures to {output}"


def check(pictures: Sequence[Path], scale_places: list[Path], warp_places: list[Path], arguments: Any) -> None:
    """Raises InputError, before anything is written, for pictures that would be overwritten or cannot be made."""
    stems = [path.stem for path in pictures]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise InputError(f"{pictures[0].parent} has several pictures named {twice}; LR pictures are known by that name")
    if len(set(scale_places)) < len(arguments.scales):
        raise InputError("--scales: folders are named with two decimals, and two of these scales have the same name")
    for place in (*scale_places, *warp_places):
        if place.exists() and not arguments.overwrite:
            raise InputError(f"{place} is there; name another --output, or --overwrite it")
    for path in pictures:
        for scale in arguments.scales:
            reduced_size(picture_size(path), scale, path)
    if arguments.overwrite:  # a matrix of another ending would be left beside the new one
        for place in warp_places:
            for path in [p for p in place.glob("*") if p.suffix in MATRIX_ENDINGS and p.stem in stems]:
                path.unlink()


def shrunk(hr: np.ndarray, scale: Scale, path: Path) -> np.ndarray:
    """The largest upper left part that `scale` reduces to whole pixels, reduced by Pillow's bicubic: (h, w, 3)
    uint8."""
    height, width = reduced_size(hr.shape[:2], scale, path)
    box = (0, 0, width * scale[1], height * scale[0])
    return np.array(Image.fromarray(hr).resize((width, height), Image.Resampling.BICUBIC, box=box))


def reduced_size(size: Size, scale: Scale, path: Path) -> Size:
    """LR size of the picture at `path`; InputError for a scale that leaves no pixel or gives too many."""
    height, width = (reduced_side(side, factor) for side, factor in zip(size, scale, strict=True))
    if min(height, width) < 1:
        raise InputError(f"{path} is too small for a scale of {scale_text(scale)}")
    return check_output_size((height, width))


def reduced_side(side: int, factor: float) -> int:
    """LR pixels of the longest part of a side with whole numbers of LR and HR pixels, if that cuts at most 5 %."""
    longest = int(side / factor + 1e-9)
    for candidate in range(longest, int(0.95 * longest), -1):
        if abs(candidate * factor - round(candidate * factor)) < 1e-6:
            return candidate
    return longest


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


def seen(hr: Tensor, homography: Homography, size: Size) -> Tensor:
    """The LR picture (3, h, w) that `homography` maps onto `hr` (3, H, W): resampled from it with antialiasing; values
    in [0, 1]."""
    filter = Upscaler(CatmullRom())
    return filter(hr, homography.inverse().grid(tuple(hr.shape[-2:]), size))[0]


if __name__ == "__main__":
    cli.run(main)
