"""Options of demo.py for films."""

import argparse
import re
from pathlib import Path
from typing import Any

from pictures.films.writing import CODECS, CONTAINERS, FilmJob
from utils import cli
from utils.errors import InputError
from utils.files import check_target

# Endings of inputs that are films whatever the output is called
READ = {
    *CONTAINERS, ".m4v", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".ogv", ".3gp", ".y4m", ".nut"
}  # fmt: skip
PICTURES_ONLY = ("mask", "compare", "cmsr_map", "suffix", "format", "depth", "compression")
FILMS_ONLY = ("codec", "quality", "keep_depth", "frames", "resume")


def add_film_options(parser: argparse.ArgumentParser) -> None:
    """Options that are for films alone."""
    parser.add_argument(
        "--codec", choices=list(CODECS), help="of films (h264, in .webm av1, unless given); ffv1 is lossless"
    )
    parser.add_argument(
        "--quality", type=cli.seed, metavar="CRF", help="of films, 0 is best (h264 18, h265 20, av1 24)"
    )
    parser.add_argument(
        "--keep-depth",
        action="store_true",
        help="h264 as deep as the film, which few devices play",
    )
    parser.add_argument("--frames", type=frames, metavar="A:B", help="only frames A to before B of a film, from 0")
    parser.add_argument("--resume", action="store_true", help="go on with a film whose run ended before its end")


def frames(text: str) -> tuple[int, int | None]:
    """`10:20`, `10:` or `:20` -> first, and the one after the last or None."""
    match = re.fullmatch(r"(\d*):(\d*)", text)
    first, last = (int(match[1] or 0), int(match[2]) if match[2] else None) if match else (0, 0)
    if last is not None and last <= first:
        raise argparse.ArgumentTypeError(f"expected A:B such as 100:200, of which B is larger, not '{text}'")
    return first, last


def is_film(path: str | Path | None) -> bool:
    """Whether a file is a film by its ending."""
    return path is not None and Path(path).suffix.lower() in READ


def find_film(arguments: Any) -> FilmJob | None:
    """The film that is meant, None where pictures are; InputError for options that do not suit it, before any work."""
    if not is_film(arguments.output) and not any(map(is_film, arguments.input)):
        for name in FILMS_ONLY:
            if _is_given(arguments, name):
                raise InputError(f"--{name.replace('_', '-')} is for films; name one as --input, or remove it")
        return None
    if len(arguments.input) > 1:
        raise InputError("films are made one at a time; give --input one film")
    source = Path(arguments.input[0])
    if not source.is_file():
        raise InputError(f"no film {source}; check the name")
    target = Path(arguments.output or f"output{source.suffix if source.suffix.lower() in CONTAINERS else '.mp4'}")
    if target.is_dir():
        target /= f"{source.stem}{source.suffix if source.suffix.lower() in CONTAINERS else '.mp4'}"
    if target.suffix.lower() not in CONTAINERS:
        raise InputError(f"cannot write the film {source} to {target}; expected an ending {', '.join(CONTAINERS)}")
    for name in PICTURES_ONLY:
        if _is_given(arguments, name):
            raise InputError(f"--{name.replace('_', '-')} is for pictures, not for films; remove it")
    _check_background(arguments)
    name = arguments.codec or ("av1" if target.suffix.lower() == ".webm" else "h264")
    if arguments.quality is not None and arguments.quality > CODECS[name].worst:
        raise InputError(_quality_message(name))
    check_target(target)
    if target.exists() and target.resolve() == source.resolve():
        raise InputError("--input and --output have to be different files")
    first, last = arguments.frames or (0, None)
    return FilmJob(source, target, name, arguments.quality, first, last, arguments.keep_depth)


def _is_given(arguments: Any, name: str) -> bool:
    value = getattr(arguments, name)
    return value is not None and value is not False  # 0 is a value


def _check_background(arguments: Any) -> None:
    warps = arguments.rotate is not None or arguments.homography is not None
    if warps and arguments.codec != "ffv1" and arguments.background in (None, "transparent"):
        raise InputError("films have no transparency but with --codec ffv1; give a warp --background black")


def _quality_message(name: str) -> str:
    if CODECS[name].quality is None:
        return f"--codec {name} is lossless; remove --quality"
    return f"--quality of --codec {name} is from 0 to {CODECS[name].worst}"
