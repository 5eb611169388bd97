"""Upscale or warp pictures: `python demo.py --input in.png --scale 4 --output out.png`."""

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

# While what follows is imported, Ctrl-C ends in one line, too
if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"interrupted\n"), os._exit(130)))

from models.zoo import resolve_all, zoo
from painting import options
from painting.batches import Job, find_jobs, remaining
from painting.film_options import add_film_options, find_film
from painting.warp_options import COMPARED, is_transparent_warp, is_warp
from pictures.colour import parse_colour
from pictures.films.writing import FilmJob
from pictures.formats import check_writable, format_of
from utils import cli, processes, system
from utils.errors import InputError
from utils.pipelines import pipelined
from utils.processes import Stopped, watch
from utils.progress import told_to

HOURS = 24 * 60  # in minutes: processes wait for each other while one paints


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(prog="demo.py", description="Upscale or warp pictures with a trained model or a filter.")
    parser.add_argument(
        "--input", required=True, nargs="+", help="pictures, folders with all below them, patterns, or - for one"
    )
    parser.add_argument("--output", help="file, folder for several, or - (default: output.png, output/, - for -)")
    options.add_size_options(parser)
    cli.add_model_options(parser, zoo(), default="s")
    warp = parser.add_mutually_exclusive_group()
    warp.add_argument("--rotate", type=options.finite, metavar="DEGREES", help="turn counter-clockwise, with --scale")
    warp.add_argument(
        "--homography",
        metavar="MATRIX",
        help="file (.txt, .npy, .pth) or nine numbers 'a,b,c,...' that map input pixels (x, y, 1) to output pixels; "
        "the output is as large as the input unless --size is given",
    )
    parser.add_argument(
        "--background",
        metavar="COLOUR",
        help="of what a warp leaves empty (default: transparent), and below transparency that the output cannot hold "
        "(default: white): a name, or #rrggbb",
    )
    add_film_options(parser)
    parser.add_argument("--mask", metavar="FILE", help="also write which pixels a warp has filled: white, others black")
    options.add_file_options(parser)
    parser.add_argument(
        "--compare", action="store_true", help=f"also write NAME{COMPARED}: input, bicubic, this model, difference"
    )
    parser.add_argument(
        "--compare-at",
        type=options.crop,
        nargs="+",
        metavar="X,Y,W,H",
        help="parts of the output to compare (default: the three most textured)",
    )
    cli.add_fast_option(parser)
    cli.add_cmsr_options(parser)
    parser.add_argument("--cmsr-map", metavar="FILE", help="picture of which region was rendered at which scale")
    parser.add_argument("--cmsr-report", action="store_true", help="render in full, too, and compare both")
    cli.add_backend_option(parser)
    cli.add_precision_option(parser, default="auto")
    cli.add_device_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    check_options(arguments)
    if film := find_film(arguments):
        if not processes.follows():  # one process paints all frames
            paint_film(film, arguments)
        return
    ending = arguments.format and f".{arguments.format}"
    found = find_jobs(arguments.input, arguments.output, ending, arguments.suffix)
    check_outputs(found, arguments)
    jobs = remaining(found, arguments.skip_existing, arguments.overwrite)
    resolve_all([arguments.model, arguments.upsampler])
    if len(jobs) < len(found) and not processes.follows():
        print(f"{len(found) - len(jobs)} of {len(found)} results are there already")
    if jobs:
        with processes.joined(HOURS):  # all have looked at what is there when the first one writes
            paint(processes.share(jobs), arguments, single=len(found) == 1)


def paint(jobs: Sequence[Job], arguments: Any, single: bool) -> None:
    """Paint and write all; a mistake about a `single` picture is raised, others are told at the end."""
    from tqdm import tqdm

    from painting.animations import paint_all
    from painting.stage_bars import StageBars
    from painting.table_painter import table_painter

    output = sys.stderr if jobs and jobs[0].streams else sys.stdout

    def make_painter() -> Any:
        return table_painter(arguments, lambda: torch_painter(arguments, output)) or torch_painter(arguments, output)

    painter = processes.agreed(make_painter)
    failures, written = [], 0
    try:
        hidden = None if len(jobs) > 1 and processes.is_first() else True
        bars = StageBars() if len(jobs) == 1 else None
        with watch(), told_to(bars), tqdm(total=len(jobs), unit=" pictures", disable=hidden) as progress:
            for _, outcome in pipelined(jobs, Job.read, partial(paint_all, painter), painter.write):
                if isinstance(outcome, InputError):
                    failures.append(outcome)
                else:
                    written += 1
                    progress.write(outcome, file=output)
                progress.update()
    except Stopped as stopped:
        done = f"{stopped} after {written} of {len(jobs)} pictures; --skip-existing goes on with the others"
        raise Stopped(done, stopped.status) from None
    if single and failures:
        raise failures[0]
    counts, failed = zip(*processes.gathered((written, failures)), strict=True)
    written, failures = sum(counts), [*chain(*failed)]
    if not processes.is_first():
        return
    if not single:
        print(f"wrote {written} pictures", file=output)
    if failures:
        total = written + len(failures)
        print(f"{len(failures)} of {total} pictures failed:", *failures, sep="\n", file=sys.stderr)
        sys.exit(1)


def paint_film(film: FilmJob, arguments: Any) -> None:
    """Paint and write a film."""
    if not remaining([Job(film.source, film.target, film.form)], arguments.skip_existing, arguments.overwrite):
        print(f"{film.target} is there already")
        return
    resolve_all([arguments.model, arguments.upsampler])
    from painting import films

    said, damage = films.paint_film(film, torch_painter(arguments, sys.stdout), arguments)
    print(said)
    if damage:
        print(damage, file=sys.stderr)
        sys.exit(1)


def torch_painter(arguments: Any, output: TextIO) -> Any:
    """What paints with PyTorch: every model, every option."""
    from models.native.compiling import looking_for_compiler

    with looking_for_compiler(), system.uncollected():
        system.settle_threads(arguments.threads)
        from painting.painter import Painter
    from utils.system import select_device

    device, notice = select_device(arguments.device, arguments.gpu)
    if notice and processes.is_first():
        print(notice, file=output)
    return Painter(device, arguments)


def check_options(arguments: Any) -> None:
    """InputError for options that do not go together, or that do nothing without another."""
    warp, proportional = is_warp(arguments), options.is_proportional(arguments)
    if not (warp or arguments.scale or arguments.size or proportional):
        raise InputError("one of --scale, --size, --fit, --rotate, --homography and the like is needed; see --help")
    if warp and proportional:
        raise InputError("--fit, --fill, --long-side and --megapixels are for upright pictures; give a warp --size")
    if warp and arguments.size and None in arguments.size:
        raise InputError("--size of a warp is WIDTHxHEIGHT, both sides")
    if arguments.homography is not None and arguments.scale:
        raise InputError("--homography sets the scale itself; give --size WIDTHxHEIGHT instead of --scale")
    if arguments.ensemble and arguments.cmsr:
        raise InputError("--ensemble and --cmsr exclude each other; remove one")
    for name in ("cmsr", "compare"):
        if warp and getattr(arguments, name):
            raise InputError(f"--{name} is for upright pictures only; remove it or the warp")
    if not arguments.fast and arguments.cmsr:
        raise InputError("--fast False changes nothing about --cmsr; remove it")
    if arguments.mask and not warp:
        raise InputError("--mask needs --rotate or --homography")
    for name in ("cmsr_map", "cmsr_path", "cmsr_mse", "cmsr_from", "cmsr_report", "force"):
        if getattr(arguments, name) not in (None, False) and not arguments.cmsr:
            raise InputError(f"--{name.replace('_', '-')} needs --cmsr")
    for name in ("fill", "compare"):
        if arguments.crop and getattr(arguments, name):
            raise InputError(f"--crop and --{name} exclude each other; remove one")
    if arguments.compare_at and not arguments.compare:
        raise InputError("--compare-at needs --compare")
    if arguments.background:
        parse_colour(arguments.background)


def check_outputs(jobs: Sequence[Job], arguments: Any) -> None:
    """InputError, before any work, when a result cannot be written, or two would be one file."""
    beside = [Path(path) for path in (arguments.cmsr_map, arguments.mask) if path]
    if beside and len(jobs) > 1:
        raise InputError("--mask and --cmsr-map are for one picture; give --input a picture")
    beside += [job.beside(COMPARED) for job in jobs if arguments.compare]
    outputs = [*beside, *(job.target for job in jobs if not job.streams)]
    places = {path.resolve() for path in outputs}
    if len(places) < len(outputs) or places & {job.source.resolve() for job in jobs}:
        raise InputError("--input, --output, --mask, --cmsr-map and what --compare writes have to be different files")
    for job in jobs:
        if is_transparent_warp(arguments) and not job.form.has_alpha:
            raise InputError(f"{job.target}: this format has no transparency; give --background black, or write a .png")
        if arguments.compression is not None and job.form.name != "PNG":
            raise InputError(f"{job.target}: --compression is for .png; remove it or write a .png")
        if arguments.background and job.form.has_alpha and not is_warp(arguments):
            raise InputError(f"{job.target} holds transparency; --background is for warps and formats without")
    for path in outputs:
        check_writable(path)
    remaining([Job(path, path, format_of(path)) for path in beside], arguments.skip_existing, arguments.overwrite)


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.run(main)
