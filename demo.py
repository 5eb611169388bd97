"""Upscale a picture or a folder of pictures to any size: `python demo.py --input in.png --scale 4 --output out.png`."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from utils import cli
from utils.checkpoints import load_upscaler
from utils.coords import Size, check_output_size, output_size
from utils.devices import select_device
from utils.errors import InputError
from utils.evaluation import control
from utils.files import distinct_names
from utils.images import check_writable, list_pictures, read_picture, to_pixels, to_tensor, write_picture
from utils.level_map import level_map, map_legend
from utils.scale_tables import find_table

SHIPPED = Path(__file__).parent / "save/pretrained_models/edsr-s_lm-liif.pth"
REFERENCE_QUERIES = 30000


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(prog="demo.py", description="Upscale pictures to any size with a trained model or a filter.")
    parser.add_argument("--input", required=True, help="a picture, or a folder of pictures")
    parser.add_argument("--output", help="the picture to write, or the folder (default: output.png, output/)")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--scale", type=cli.scale, help="2.5, or 3x1.5 for height x width")
    target.add_argument("--size", type=cli.size, help="output size in pixels, 1920x1080 for width x height")
    parser.add_argument("--model", default=SHIPPED, help="a checkpoint, or nearest, bilinear, bicubic, lanczos")
    cli.add_fast_option(parser)
    cli.add_cmsr_options(parser)
    parser.add_argument("--cmsr-map", metavar="FILE", help="picture of which region was rendered at which scale")
    cli.add_device_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    device, notice = select_device(arguments.device, arguments.gpu)
    if notice:
        print(notice)
    source = Path(arguments.input)
    if source.is_dir():
        upscale_folder(source, Path(arguments.output or "output"), device, arguments)
        return
    target = check_writable(arguments.output or "output.png")
    if arguments.cmsr_map:
        check_writable(arguments.cmsr_map)
    picture = read_picture(source)
    target_size(picture[0].shape[:2], arguments)
    print(Worker(device, arguments).upscale(source, *picture, target))
    print(f"wrote {target}" + (f" and {arguments.cmsr_map}" if arguments.cmsr_map else ""))


def upscale_folder(source: Path, folder: Path, device: torch.device, arguments: Any) -> None:
    """Upscale every picture of a folder; goes on past broken ones and names them in the end."""
    if folder.resolve() == source.resolve():
        raise InputError(f"--output {folder} is the input folder; name another, so that no picture is overwritten")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file, but --input is a folder; name a folder")
    if arguments.cmsr_map:
        raise InputError("--cmsr-map is for one picture; give --input a picture")
    sources = list_pictures(source)
    worker = Worker(device, arguments)
    names = distinct_names(sources)
    failures = []
    progress = tqdm(sources, disable=None)
    for path in progress:
        try:
            progress.write(worker.upscale(path, *read_picture(path), folder / f"{names[path]}.png"))
        except InputError as error:
            failures.append(str(error))
    print(f"wrote {len(sources) - len(failures)} pictures to {folder}")
    if failures:
        raise InputError(f"{len(failures)} of {len(sources)} pictures failed: {'; '.join(failures)}")


def target_size(size: Size, arguments: Any) -> Size:
    """(H, W) that `--size` or `--scale` asks for."""
    return check_output_size(arguments.size) if arguments.size else output_size(size, arguments.scale)


class Worker:
    """A loaded model with the options of the command line."""

    def __init__(self, device: torch.device, arguments: Any):
        self.arguments = arguments
        self.upscaler = load_upscaler(arguments.model, device)
        self.queries = None if arguments.fast else REFERENCE_QUERIES
        self.table = None
        if arguments.cmsr:
            path, mse, force = arguments.cmsr_path, arguments.cmsr_mse, arguments.force
            self.table = find_table(self.upscaler, arguments.model, path, mse, force)
        elif arguments.cmsr_map:
            raise InputError("--cmsr-map needs --cmsr")

    def upscale(self, source: Path, pixels: Any, notice: str | None, target: Path) -> str:
        """Upscale one picture and write it: lines that say what was done and how long it took."""
        size = target_size(pixels.shape[:2], self.arguments)
        lines = [] if notice is None else [notice]
        started = time.perf_counter()
        if self.table is None:
            latent = self.upscaler.encode(to_tensor(pixels))
            encoded = time.perf_counter()
            picture = self.upscaler.render(latent, size, self.queries)[0].cpu()
            parts = f" (encode {encoded - started:.2f}, render {time.perf_counter() - encoded:.2f})"
        else:
            report = control(self.upscaler, to_tensor(pixels), size, self.table, self.arguments.cmsr_from)
            picture, parts = report.picture, ", with and without CMSR"
            lines += [line for line in (self.table.notice(report.scale), str(report)) if line]
            if self.arguments.cmsr_map:
                write_picture(self.arguments.cmsr_map, level_map(report.controlled, size))
                lines.append(f"{self.arguments.cmsr_map}: {map_legend(report.controlled)}")
        seconds = time.perf_counter() - started
        write_picture(target, to_pixels(picture, grey=pixels.ndim == 2))
        height, width = pixels.shape[:2]
        return "\n".join([*lines, f"{source.name}: {width}x{height} -> {size[1]}x{size[0]} in {seconds:.2f} s{parts}"])


if __name__ == "__main__":
    cli.run(main)
