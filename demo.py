"""Upscale a picture or a folder of pictures to any size: `python demo.py --input in.png --scale 4 --output out.png`."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from utils import cli
from utils.checkpoints import load_upscaler
from utils.coords import Size, check_output_size, output_size
from utils.devices import select_device
from utils.errors import InputError
from utils.images import check_writable, list_pictures, read_picture, to_pixels, to_tensor, write_picture
from utils.upscaler import Upscaler

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
    parser.add_argument(
        "--fast",
        type=cli.boolean,
        default=True,
        metavar="BOOL",
        help="False samples position by position as in training: slower, the same picture",
    )
    cli.add_device_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    device, notice = select_device(arguments.device, arguments.gpu)
    if notice:
        print(notice)
    source = Path(arguments.input)
    queries = None if arguments.fast else REFERENCE_QUERIES

    if not source.is_dir():
        target = check_writable(arguments.output or "output.png")
        pixels = read_picture(source)
        size = target_size(pixels[0].shape[:2], arguments)
        upscaler = load_upscaler(arguments.model, device)
        print(upscale(upscaler, source, *pixels, size, target, queries))
        print(f"wrote {target}")
        return

    folder = Path(arguments.output or "output")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file, but --input is a folder; name a folder")
    sources = list_pictures(source)
    upscaler = load_upscaler(arguments.model, device)
    failures = []
    progress = tqdm(sources, disable=None)
    for path in progress:
        try:
            pixels = read_picture(path)
            size = target_size(pixels[0].shape[:2], arguments)
            progress.write(upscale(upscaler, path, *pixels, size, folder / f"{path.stem}.png", queries))
        except InputError as error:
            failures.append(str(error))
    print(f"wrote {len(sources) - len(failures)} pictures to {folder}")
    if failures:
        raise InputError(f"{len(failures)} of {len(sources)} pictures failed: {'; '.join(failures)}")


def target_size(size: Size, arguments: Any) -> Size:
    """(H, W) that `--size` or `--scale` asks for."""
    return check_output_size(arguments.size) if arguments.size else output_size(size, arguments.scale)


def upscale(
    upscaler: Upscaler, source: Path, pixels: Any, notice: str | None, size: Size, target: Path, queries: int | None
) -> str:
    """Upscale one picture and write it: a line that says what was done and how long it took."""
    started = time.perf_counter()
    latent = upscaler.encode(to_tensor(pixels))
    encoded = time.perf_counter()
    picture = upscaler.render(latent, size, queries)[0]
    rendered = time.perf_counter()
    write_picture(target, to_pixels(picture, grey=pixels.ndim == 2))
    height, width = pixels.shape[:2]
    line = f"{source.name}: {width}x{height} -> {size[1]}x{size[0]} in {rendered - started:.2f} s "
    line += f"(encode {encoded - started:.2f}, render {rendered - encoded:.2f})"
    return line if notice is None else f"{notice}\n{line}"


if __name__ == "__main__":
    cli.run(main)
