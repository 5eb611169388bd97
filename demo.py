"""Upscale or warp pictures: `python demo.py --input in.png --scale 4 --output out.png`."""

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

# While what follows is imported, Ctrl-C ends in one line, too
if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"interrupted\n"), os._exit(130)))

from models.zoo import resolve_all
from painting.jobs import Job, check_outputs, find_film, find_jobs, part_of, remaining, shard_of
from painting.request import Request, add_options, request_of
from pictures.films.writing import FilmJob
from utils import cli, processes, progress
from utils.errors import printable

HOURS = 24 * 60  # in minutes: processes wait for each other while one paints


def parse_arguments(argv: Sequence[str] | None) -> Namespace:
    parser = cli.Parser(description="Upscale or warp pictures with a trained model or a filter.")
    add_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    request = request_of(parse_arguments(argv))
    if film := find_film(request):
        if not processes.follows():  # one process paints all frames
            paint_film(film, request)
        return
    everything = find_jobs(request)
    shard = shard_of(request, everything)
    check_outputs(everything, request)
    found = part_of(everything, shard)
    jobs = remaining(found, request)
    resolve_all([request.model, request.upsampler])
    if len(jobs) < len(found) and not processes.follows():
        print(f"{len(found) - len(jobs)} of {len(found)} results are there already")
    if jobs:
        from painting.batch import paint_batch

        manifest = shard and Path(request.output or "output", f"manifest-{shard[0]}-of-{shard[1]}.jsonl")
        with processes.joined(HOURS):  # all have looked at what is there when the first one writes
            if failed := paint_batch(
                processes.share(jobs), request, single=len(found) == 1 and not shard, manifest=manifest
            ):
                print(failed, file=sys.stderr)
                sys.exit(1)


def paint_film(film: FilmJob, request: Request) -> None:
    """Paint and write a film."""
    if not remaining([Job(film.source, film.target, film.form)], request):
        print(printable(f"{film.target} is there already"))
        return
    resolve_all([request.model, request.upsampler])
    from painting import films
    from painting.batch import stage_bars

    with progress.told_to(stage_bars()):
        said, damage = films.paint_film(film, request)
    print(printable(said))
    if damage:
        print(printable(damage), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.run(main)
