"""Every option of demo.py, typed, and which of them exclude or need one another.

demo.py, the page, films and `torch.hub` make a Request; nothing below reads a command line. An option is one field
here, with its help, and the place where it takes effect.
"""
# ruff: noqa: RUF009 (options are fields with a description, as `dataclasses.field` makes them)

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from models.zoo import DEFAULT, DEFAULT_OF_CMSR, ModelFile, zoo
from pictures.colour import parse_colour
from pictures.films.writing import CODECS
from pictures.formats import WRITTEN
from utils import cli
from utils.errors import InputError
from utils.geometry.matrices import matrix_of
from utils.geometry.sizes import Scale, Sides, Size, parse_sides

Crop = tuple[int, int, int, int]  # x, y, width, height in output pixels
Matrix = tuple[tuple[float, ...], ...]


def _whole(pattern: str, expected: str) -> Callable[[str], tuple[int | None, ...]]:
    """The `type` of an option: whole numbers where a pattern has groups, None for empty ones."""

    def parse(text: str) -> tuple[int | None, ...]:
        match = re.fullmatch(pattern, text)
        if not match:
            raise argparse.ArgumentTypeError(f"expected {expected}, not '{text}'")
        return tuple(int(group) if group else None for group in match.groups())

    return parse


parse_crop = _whole(r"(\d+),(\d+),0*([1-9]\d*),0*([1-9]\d*)", "X,Y,WIDTH,HEIGHT such as 100,50,128,128")


def _sides(text: str) -> Sides:
    try:
        return parse_sides(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def option(help: str, default: Any = None, **argument: Any) -> Any:
    """A field that is an option of the same name; `group`: options that exclude each other."""
    return field(default=default, metadata={"help": help, **argument})


def switch(help: str, **argument: Any) -> Any:
    """An option without a value."""
    return option(help, False, action="store_true", **argument)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A picture, or several, at another size or warped, by a model, written as a format can hold.

    Sizes are (height, width) and scales (height, width) factors, as everywhere but on the command line.
    InputError for options that do not go together, or that do nothing without another.
    """

    # Files
    input: tuple[str, ...] = option(
        "pictures, folders with all below them, patterns, or - for one", (), nargs="+", required=True
    )
    output: str | None = option("file, folder for several, or - (default: output.png, output/, - for -)")
    suffix: str | None = option(
        "added to the names of results, such as _x4; without --output, of one picture beside it", metavar="TEXT"
    )
    format: str | None = option(
        "of results in a folder, or of - (png unless given)", choices=[ending[1:] for ending in WRITTEN]
    )
    overwrite: bool = switch("replace results that are there already", group="existing")
    skip_existing: bool = switch("leave out pictures whose result is there", group="existing")

    shard: tuple[int, int] | None = option(
        "only part K, from 1, of N of the pictures (default: as SLURM's job arrays and Kubernetes' indexed jobs say)",
        type=_whole(r"(\d+)/(\d+)", "K/N such as 2/10"),
        metavar="K/N",
    )

    # How large
    scale: Scale | None = option("2.5, 2x or 250%%; 3x1.5 is height x width", type=cli.scale, group="size")
    size: Sides | None = option("1920x1080 (width x height), 1920 or x1080", type=_sides, group="size")
    fit: Size | None = option("as large as fits into this size", type=cli.size, metavar="WxH", group="size")
    fill: Size | None = option("this size, filled; the rest is cut off", type=cli.size, metavar="WxH", group="size")
    long_side: int | None = option("the longer side", type=cli.count, metavar="PIXELS", group="size")
    megapixels: float | None = option("million pixels", type=cli.positive, metavar="N", group="size")
    crop: Crop | None = option(
        "only this part of the output, which is computed alone", type=parse_crop, metavar="X,Y,W,H"
    )

    # Warps
    rotate: float | None = option("turn counter-clockwise, with --scale", type=float, metavar="DEGREES", group="warp")
    homography: Matrix | None = option(
        "file (.txt, .npy, .pth) or nine numbers 'a,b,c,...' that map input pixels (x, y, 1) to output pixels; "
        "the output is as large as the input unless --size is given",
        metavar="MATRIX",
        group="warp",
    )
    background: str | None = option(
        "of what a warp leaves empty (default: transparent), and below transparency that the output cannot hold "
        "(default: white): a name, or #rrggbb",
        metavar="COLOUR",
    )
    mask: str | None = option("also write which pixels a warp has filled: white, others black", metavar="FILE")

    # What is computed; these options and their help are shared with other programs, see `add_options`
    model: str | Path | ModelFile | None = None  # one of the defaults
    upsampler: str | Path | ModelFile | None = None
    ensemble: bool = False
    fast: bool = True
    cmsr: bool = False
    cmsr_path: str | None = None
    cmsr_mse: float | None = None
    cmsr_from: float | None = None
    force: bool = False
    backend: str = "auto"
    precision: str = "auto"
    device: str = "auto"
    gpu: str | None = None
    threads: int | None = None

    # What is shown beside the result
    cmsr_map: str | None = option("picture of which region was rendered at which scale", metavar="FILE")
    cmsr_report: bool = switch("render in full, too, and compare both")
    compare: bool = switch("also write NAME_compare.png: input, bicubic, this model, difference")
    compare_at: tuple[Crop, ...] | None = option(
        "parts of the output to compare (default: the three most textured)",
        type=parse_crop,
        nargs="+",
        metavar="X,Y,W,H",
    )

    # What is written, and kept of the input
    depth: int | None = option("bits a channel (those of the input unless given)", type=int, choices=(8, 16))
    compression: int | None = option(
        "of .png: 0 is large, 9 is slow (4 unless given)", type=int, choices=range(10), metavar="0..9"
    )
    memory: int | None = option(
        "to use beside the input, as 2G (default: what is free); .png, .tif and .ppm beyond are made in strips",
        type=cli.memory,
        metavar="SIZE",
    )
    strict: bool = switch("fail where the output cannot hold what the input has")
    strip_metadata: bool = switch("drop profile, EXIF, XMP, resolution and texts")

    # Films
    codec: str | None = option("of films (h264, in .webm av1, unless given); ffv1 is lossless", choices=list(CODECS))
    quality: int | None = option(
        "of .jpg and .webp, 1 to 100 (95; .webp has no loss unless given); of films, 0 is best (h264 18, av1 24)",
        type=cli.seed,
        metavar="N",
    )
    keep_depth: bool = switch("h264 as deep as the film, which few devices play")
    frames: tuple[int | None, int | None] | None = option(
        "only frames A to before B of a film, from 0",
        type=_whole(r"(\d*):(\d*)", "A:B such as 100:200"),
        metavar="A:B",
    )
    resume: bool = switch("go on with a film whose run ended before its end")

    def __post_init__(self) -> None:
        if self.model is None:
            object.__setattr__(self, "model", DEFAULT_OF_CMSR if self.cmsr else DEFAULT)
        if not (self.is_warp or self.scale or self.size or self._is_proportional):
            raise InputError("one of --scale, --size, --fit, --rotate, --homography and the like is needed; see --help")
        if self.homography is not None and self.scale:
            raise InputError("--homography sets the scale itself; give --size WIDTHxHEIGHT instead of --scale")
        if self.homography is not None:
            matrix = np.asarray(matrix_of(self.homography))
            object.__setattr__(self, "homography", tuple(map(tuple, matrix.tolist())))
        if self.background:
            parse_colour(self.background)
        if self.rotate is not None and not math.isfinite(self.rotate):
            raise InputError("--rotate is a number of degrees")
        if self.frames and self.frames[1] is not None and self.frames[1] <= (self.frames[0] or 0):
            raise InputError("--frames A:B: B is larger than A")
        if self.is_warp and self._is_proportional:
            raise InputError("--fit, --fill, --long-side and --megapixels are for upright pictures; give a warp --size")
        if self.is_warp and self.size and None in self.size:
            raise InputError("--size of a warp is WIDTHxHEIGHT, both sides")
        for name in ("cmsr", "compare"):
            if self.is_warp and getattr(self, name):
                raise InputError(f"--{name} is for upright pictures only; remove it or the warp")
        for name in ("fill", "compare"):
            if self.crop and getattr(self, name):
                raise InputError(f"--crop and --{name} exclude each other; remove one")
        if self.ensemble and self.cmsr:
            raise InputError("--ensemble and --cmsr exclude each other; remove one")
        if not self.fast and self.cmsr:
            raise InputError("--fast False changes nothing about --cmsr; remove it")
        if self.mask and not self.is_warp:
            raise InputError("--mask needs --rotate or --homography")
        for name in ("cmsr_map", "cmsr_path", "cmsr_mse", "cmsr_from", "cmsr_report", "force"):
            if name in self.given and not self.cmsr:
                raise InputError(f"{flag(name)} needs --cmsr")
        if self.compare_at and not self.compare:
            raise InputError("--compare-at needs --compare")

    @property
    def given(self) -> frozenset[str]:
        """Names of the options that are not as by default."""
        return frozenset(each.name for each in fields(self) if getattr(self, each.name) != each.default)

    @property
    def is_warp(self) -> bool:
        """Whether the output may show more than the picture, as turned or skewed ones do."""
        return self.rotate is not None or self.homography is not None

    @property
    def is_transparent_warp(self) -> bool:
        """Whether the part outside of the picture is transparent."""
        return self.is_warp and self.background in (None, "transparent")

    @property
    def _is_proportional(self) -> bool:
        return any((self.fit, self.fill, self.long_side, self.megapixels))


def flag(name: str) -> str:
    """`--long-side` of `long_side`."""
    return f"--{name.replace('_', '-')}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """An option for each field of a Request."""
    groups: dict[str | None, Any] = {None: parser}
    for each in fields(Request):
        if each.metadata:
            settings = dict(each.metadata)
            name = settings.pop("group", None)
            if name not in groups:
                groups[name] = parser.add_mutually_exclusive_group()
            groups[name].add_argument(
                flag(each.name), default=None if settings.get("required") else each.default, **settings
            )
    cli.add_model_options(parser, zoo(), f"; {DEFAULT}, with --cmsr {DEFAULT_OF_CMSR}, unless given")
    cli.add_options(parser, "fast", *cli.CMSR, "backend", "precision", *cli.DEVICE)
    parser.set_defaults(precision=Request.precision)


def request_of(arguments: argparse.Namespace) -> Request:
    """The Request of a command line that `add_options` has described."""
    values = vars(arguments)
    return Request(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
