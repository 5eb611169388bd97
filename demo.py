"""Upscale or warp a picture, or a folder of pictures: `python demo.py --input in.png --scale 4 --output out.png`."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import models
from evaluation.cmsr_report import control, level_map, map_legend
from models.checkpoints.loading import load_upscaler, on_upsampler
from models.cmsr.tables import find_table
from models.native import BACKENDS
from utils import cli
from utils.devices import select_device
from utils.errors import InputError
from utils.files import distinct_names
from utils.geometry.grids import Size, check_output_size, output_size
from utils.geometry.homographies import Homography, rotated_size
from utils.homography_files import read_homography
from utils.images import (
    check_writable,
    holds_transparency,
    list_pictures,
    parse_colour,
    read_picture,
    to_pixels,
    to_tensor,
    with_background,
    write_picture,
)

SHIPPED = Path(__file__).parent / "save/pretrained_models/edsr-s_lm-liif.pth"
REFERENCE_QUERIES = 30000


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(prog="demo.py", description="Upscale or warp pictures with a trained model or a filter.")
    parser.add_argument("--input", required=True, help="a picture, or a folder of pictures")
    parser.add_argument("--output", help="the picture to write, or the folder (default: output.png, output/)")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--scale", type=cli.scale, help="2.5, or 3x1.5 for height x width")
    target.add_argument("--size", type=cli.size, help="output size in pixels, 1920x1080 for width x height")
    cli.add_model_options(parser, models.names("decoders"), models.names("resampling"), default=SHIPPED)
    warp = parser.add_mutually_exclusive_group()
    warp.add_argument("--rotate", type=float, metavar="DEGREES", help="turn counter-clockwise, enlarged by --scale")
    warp.add_argument(
        "--homography",
        metavar="MATRIX",
        help="file (.txt, .npy, .pth) or nine numbers 'a,b,c,...' that map input pixels (x, y, 1) to output pixels; "
        "the output is as large as the input unless --size is given",
    )
    parser.add_argument(
        "--background", default="transparent", metavar="COLOUR", help="of what a warp leaves empty: a name, or #rrggbb"
    )
    parser.add_argument("--mask", metavar="FILE", help="also write which pixels a warp has filled: white, others black")
    cli.add_fast_option(parser)
    cli.add_cmsr_options(parser)
    parser.add_argument("--cmsr-map", metavar="FILE", help="picture of which region was rendered at which scale")
    cli.add_backend_option(parser, BACKENDS)
    cli.add_device_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    check_target_options(arguments)
    device, notice = select_device(arguments.device, arguments.gpu)
    if notice:
        print(notice)
    source = Path(arguments.input)
    if source.is_dir():
        upscale_folder(source, Path(arguments.output or "output"), device, arguments)
        return
    target = check_writable(arguments.output or "output.png")
    if leaves_empty(arguments) and arguments.background == "transparent" and not holds_transparency(target):
        raise InputError(f"{target}: this format has no transparency; give --background black, or write a .png")
    extra = [check_writable(path) for path in (arguments.cmsr_map, arguments.mask) if path]
    if len({path.resolve() for path in (source, target, *extra)}) < 2 + len(extra):
        raise InputError("--input, --output, --mask and --cmsr-map have to be different files")
    picture = read_picture(source)
    target_size(picture[0].shape[:2], arguments)
    print(Worker(device, arguments).run(source, *picture, target))
    print(f"wrote {' and '.join(map(str, [target, *extra]))}")


def upscale_folder(source: Path, folder: Path, device: torch.device, arguments: Any) -> None:
    """Upscale every picture of a folder; goes on past broken ones and names them in the end."""
    if folder.resolve() == source.resolve():
        raise InputError(f"--output {folder} is the input folder; name another, so that no picture is overwritten")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file, but --input is a folder; name a folder")
    for option in ("cmsr_map", "mask"):
        if getattr(arguments, option):
            raise InputError(f"--{option.replace('_', '-')} is for one picture; give --input a picture")
    sources = list_pictures(source)
    worker = Worker(device, arguments)
    names = distinct_names(sources)
    failures = []
    progress = tqdm(sources, disable=None)
    for path in progress:
        try:
            progress.write(worker.run(path, *read_picture(path), folder / f"{names[path]}.png"))
        except InputError as error:
            failures.append(str(error))
    print(f"wrote {len(sources) - len(failures)} pictures to {folder}")
    if failures:
        raise InputError(f"{len(failures)} of {len(sources)} pictures failed: {'; '.join(failures)}")


def leaves_empty(arguments: Any) -> bool:
    """Whether this is a warp, whose output may show more than the picture."""
    return arguments.rotate is not None or arguments.homography is not None


def check_target_options(arguments: Any) -> None:
    """InputError for options that do not go together."""
    if not (leaves_empty(arguments) or arguments.scale or arguments.size):
        raise InputError("one of --scale, --size, --rotate and --homography is needed")
    if arguments.homography is not None and arguments.scale:
        raise InputError("--homography sets the scale itself; give --size WIDTHxHEIGHT instead of --scale")
    if arguments.rotate is not None and not math.isfinite(arguments.rotate):
        raise InputError(f"--rotate {arguments.rotate} is no angle; give degrees")
    if arguments.mask and not leaves_empty(arguments):
        raise InputError("--mask needs --rotate or --homography")
    if leaves_empty(arguments) and arguments.cmsr:
        raise InputError("--cmsr renders upright pictures only; remove it or the warp")
    parse_colour(arguments.background)


def target_size(size: Size, arguments: Any) -> Size:
    """(H, W) that `--size`, `--scale` and `--rotate` ask for."""
    if arguments.size:
        return check_output_size(arguments.size)
    if arguments.rotate is not None:
        return rotated_size(size, arguments.rotate, arguments.scale or (1, 1))
    return size if arguments.homography is not None else output_size(size, arguments.scale)


class Worker:
    """A loaded model with the options of the command line."""

    def __init__(self, device: torch.device, arguments: Any):
        self.arguments = arguments
        self.upscaler = load_upscaler(arguments.model, device, backend=arguments.backend)
        if arguments.upsampler:
            self.upscaler = on_upsampler(
                self.upscaler, load_upscaler(arguments.upsampler, device, backend=arguments.backend)
            )
        self.queries = None if arguments.fast else REFERENCE_QUERIES
        self.homography = None if arguments.homography is None else read_homography(arguments.homography)
        self.table = None
        if arguments.cmsr:
            path, mse, force = arguments.cmsr_path, arguments.cmsr_mse, arguments.force
            self.table = find_table(self.upscaler, arguments.model, path, mse, force)
        elif arguments.cmsr_map:
            raise InputError("--cmsr-map needs --cmsr")

    def run(self, source: Path, pixels: Any, notice: str | None, target: Path) -> str:
        """Upscale or warp one picture and write it: lines that say what was done and how long it took."""
        size = target_size(pixels.shape[:2], self.arguments)
        started = time.perf_counter()
        work = self.warp if leaves_empty(self.arguments) else self.upscale if self.table is None else self.control
        output, beside, *lines, parts = work(pixels, size)
        seconds = time.perf_counter() - started
        write_picture(target, output)
        for path, content in beside.items():
            write_picture(path, content)
        height, width = pixels.shape[:2]
        done = f"{source.name}: {width}x{height} -> {size[1]}x{size[0]} in {seconds:.2f} s{parts}"
        return "\n".join([line for line in (notice, *lines) if line] + [done])

    def upscale(self, pixels: Any, size: Size) -> tuple[Any, ...]:
        """The picture (H, W, 3) or grey (H, W) at another size, pictures beside it by file, and what it took."""
        started = time.perf_counter()
        latent = self.upscaler.encode(to_tensor(pixels))
        encoded = time.perf_counter()
        picture = self.upscaler.render(latent, size, self.queries)[0].cpu()
        output = to_pixels(picture, grey=pixels.ndim == 2)
        return output, {}, f" (encode {encoded - started:.2f}, render {time.perf_counter() - encoded:.2f})"

    def control(self, pixels: Any, size: Size) -> tuple[Any, ...]:
        """As `upscale` by CMSR; before what it took, what else there is to say."""
        report = control(self.upscaler, to_tensor(pixels), size, self.table, self.arguments.cmsr_from)
        lines = [self.table.notice(report.scale), str(report)]
        beside = {}
        if self.arguments.cmsr_map:
            beside[self.arguments.cmsr_map] = level_map(report.controlled, size)
            lines.append(f"{self.arguments.cmsr_map}: {map_legend(report.controlled)}")
        return to_pixels(report.picture, grey=pixels.ndim == 2), beside, *lines, ", with and without CMSR"

    def warp(self, pixels: Any, size: Size) -> tuple[Any, ...]:
        """As `control`, under the homography that was asked for, transparent or filled outside."""
        homography = self.homography or Homography.rotation(
            self.arguments.rotate, pixels.shape[:2], size, self.arguments.scale or (1, 1)
        )
        latent = self.upscaler.encode(to_tensor(pixels))
        grid = homography.grid(tuple(latent.image.shape[-2:]), size)
        picture, inside = self.upscaler.render(latent, grid), grid.inside()
        mask = inside.numpy()
        beside = {self.arguments.mask: np.where(mask, 255, 0).astype(np.uint8)} if self.arguments.mask else {}
        output = with_background(to_pixels(picture[0], grey=pixels.ndim == 2), mask, self.arguments.background)
        return (
            output,
            beside,
            f"{mask.mean():.1%} of the output lies inside the picture" if not mask.all() else None,
            "",
        )


if __name__ == "__main__":
    cli.run(main)
