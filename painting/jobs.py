"""Which pictures, or which film, are meant, and where their results go."""

import glob
import io
import os
import sys
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from painting.request import Request, flag
from pictures.animations import read_animation
from pictures.films.writing import CODECS, CONTAINERS, FilmJob
from pictures.formats import WRITTEN, Format, check_writable, format_of
from pictures.picture import Animation, Picture
from pictures.reading import STREAM, is_picture, read_picture
from pictures.writing import BandedPicture, encode, write_picture
from utils.errors import InputError
from utils.files import check_regular, check_target, distinct_names, writing

# Endings of inputs that are films whatever the output is called
READ = {
    *CONTAINERS, ".m4v", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".ogv", ".3gp", ".y4m", ".nut"
}  # fmt: skip
FILMS_ONLY = frozenset({"codec", "keep_depth", "frames", "resume"})  # that pictures have not
PICTURES_ONLY = frozenset({"mask", "compare", "cmsr_map", "shard", "suffix", "format", "depth", "compression"})
# Variables of SLURM and Kubernetes: the number of a job in an array, how many there are, the first number
ARRAYS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", ""),
)
COMPARED = "_compare.png"  # ends the name of what `compare` writes


@dataclass(frozen=True)
class Job:
    """A picture to read, where to write what is made of it, and the format for that; `-` is standard input or
    output."""

    source: Path
    target: Path
    form: Format

    @property
    def streams(self) -> bool:
        """Whether the result goes to the standard output."""
        return str(self.target) == STREAM

    def beside(self, suffix: str) -> Path:
        """A name beside the target's: `out_compare.png` of `out.jpg` for `_compare.png`."""
        return self.target.with_name(self.target.stem + suffix)

    def read(self) -> Picture | Animation:
        """An animation where the source is one and the format holds such; InputError as `read_picture`."""
        source = sys.stdin.buffer.read() if str(self.source) == STREAM else self.source
        animation = read_animation(source) if self.form.is_animated else None
        return animation or read_picture(source)

    def write(self, picture: Picture | BandedPicture | Animation, compression: int | None = None) -> list[str]:
        """As `write_picture`, also what it returns."""
        if not self.streams:
            return write_picture(self.target, picture, compression, self.form)
        content = io.BytesIO()
        lost = encode(content, self.target, self.form, picture, compression)
        with writing("standard output"):
            try:
                sys.stdout.buffer.write(content.getbuffer())
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes what is left when it ends
                raise InputError("cannot write standard output: what reads it has ended") from None
        return lost


def find_film(request: Request) -> FilmJob | None:
    """The film that is meant, None where pictures are; InputError for options that do not suit it, before any work."""
    if not any(map(_is_film, filter(None, [request.output, *request.input]))):
        for name in sorted(request.given & FILMS_ONLY):
            raise InputError(f"{flag(name)} is for films; name one as --input, or remove it")
        return None
    if len(request.input) > 1:
        raise InputError("films are made one at a time; give --input one film")
    source = Path(request.input[0])
    if not source.is_file():
        raise InputError(f"no film {source}; check the name")
    ending = source.suffix if source.suffix.lower() in CONTAINERS else ".mp4"
    target = Path(request.output or f"output{ending}")
    if target.is_dir():
        target /= f"{source.stem}{ending}"
    if target.suffix.lower() not in CONTAINERS:
        raise InputError(f"cannot write the film {source} to {target}; expected an ending {', '.join(CONTAINERS)}")
    for name in sorted(request.given & PICTURES_ONLY):
        raise InputError(f"{flag(name)} is for pictures, not for films; remove it")
    if request.is_transparent_warp and request.codec != "ffv1":
        raise InputError("films have no transparency but with --codec ffv1; give a warp --background black")
    codec = request.codec or ("av1" if target.suffix.lower() == ".webm" else "h264")
    if request.quality is not None and request.quality > CODECS[codec].worst:
        if CODECS[codec].quality is None:
            raise InputError(f"--codec {codec} is lossless; remove --quality")
        raise InputError(f"--quality of --codec {codec} is from 0 to {CODECS[codec].worst}")
    check_target(target)
    if target.exists() and target.resolve() == source.resolve():
        raise InputError("--input and --output have to be different files")
    first, last = request.frames or (0, None)
    return FilmJob(source, target, codec, request.quality, first, last, request.keep_depth)


def _is_film(path: str) -> bool:
    return Path(path).suffix.lower() in READ


def find_jobs(request: Request) -> list[Job]:
    """The pictures that are meant, see `_found`; InputError when there is nothing to read or nowhere to write."""
    jobs = _found(request)
    if request.quality is None:
        return jobs
    return [replace(job, form=job.form.of_quality(request.quality)) for job in jobs]


def _found(request: Request) -> list[Job]:
    """Jobs for files, folders (with all below them), patterns such as `photos/**/*.jpg`, or `-`.

    One file goes to the file `output`, or into it where that is a folder; all others go into a folder, which mirrors
    the folders of the inputs, named by their stems, or by their whole names where two would get one name, with `suffix`
    and the ending of `format`, .png by default; with a `suffix`, also beside their inputs.
    """
    inputs, output, suffix = request.input, request.output, request.suffix
    ending = request.format and f".{request.format}"
    if suffix and Path(suffix).name != suffix:
        raise InputError(f"--suffix {suffix} holds a folder; give letters that end a name, such as _x4")
    single = len(inputs) == 1 and not Path(inputs[0]).is_dir() and not _is_pattern(inputs[0])
    into = output is not None and (output.endswith(("/", os.sep)) or Path(output).is_dir())
    if STREAM in inputs and (len(inputs) > 1 or into):
        raise InputError("--input - is one picture, so it is the only input, and --output is a file or -")
    if single and not into:
        return [_single_job(inputs[0], output, ending, suffix)]
    folder = Path(output or "output")
    if output == STREAM:
        raise InputError("--output - takes one picture, not several; name a folder")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file, but --input is several pictures; name a folder")
    if folder.suffix.lower() in WRITTEN and not into:
        raise InputError(f"--output {folder} is one picture, but --input is several; name a folder, or {folder}/")
    by_place = defaultdict(list)
    roots = [Path(text) for text in inputs if Path(text).is_dir()]
    for text in dict.fromkeys(inputs):
        for path, place in _sources(text, folder, apart=len(roots) > 1, beside=bool(suffix)):
            if not (suffix and path.stem.endswith(suffix) and path.parent.resolve() == (folder / place).resolve()):
                by_place[folder / place].append(path)  # else a result of an earlier run, beside its input
    ending = ending or ".png"
    jobs = [
        Job(path, place / f"{name}{suffix or ''}{ending}", WRITTEN[ending])
        for place, paths in by_place.items()
        for path, name in distinct_names(list(dict.fromkeys(paths))).items()
    ]
    _check_apart(jobs)
    return jobs


def shard_of(request: Request) -> tuple[int, int] | None:
    """(K, N): the part of the pictures that this run makes, as asked for or as a job array says; None: all."""
    if request.shard:
        return request.shard
    for index, count, first in ARRAYS:
        if os.environ.get(index, "").isdecimal() and os.environ.get(count, "").isdecimal():
            return int(os.environ[index]) - int(os.environ.get(first, 0)) + 1, int(os.environ[count])
    return None


def part_of(jobs: Sequence[Job], shard: tuple[int, int] | None) -> list[Job]:
    """The jobs of a part: a picture's is decided by its path alone, whichever others there are."""
    if shard is None or len(jobs) == 1:
        return list(jobs)
    part, count = shard
    return [job for job in jobs if zlib.crc32(job.source.as_posix().encode()) % count == part - 1]


def check_outputs(jobs: Sequence[Job], request: Request) -> None:
    """InputError, before any work, when a result cannot be written, or two would be one file."""
    beside = [Path(path) for path in (request.cmsr_map, request.mask) if path]
    if beside and len(jobs) > 1:
        raise InputError("--mask and --cmsr-map are for one picture; give --input a picture")
    beside += [job.beside(COMPARED) for job in jobs if request.compare]
    outputs = [*beside, *(job.target for job in jobs if not job.streams)]
    places = {path.resolve() for path in outputs}
    if len(places) < len(outputs) or places & {job.source.resolve() for job in jobs}:
        raise InputError("--input, --output, --mask, --cmsr-map and what --compare writes have to be different files")
    for job in jobs:
        if request.is_transparent_warp and not job.form.has_alpha:
            raise InputError(f"{job.target}: this format has no transparency; give --background black, or write a .png")
        if request.compression is not None and job.form.name != "PNG":
            raise InputError(f"{job.target}: --compression is for .png; remove it or write a .png")
        if request.background and job.form.has_alpha and not request.is_warp:
            raise InputError(f"{job.target} holds transparency; --background is for warps and formats without")
    for path in outputs:
        check_writable(path)
    remaining([Job(path, path, format_of(path)) for path in beside], request)


def remaining(jobs: Sequence[Job], request: Request) -> list[Job]:
    """Jobs whose result is not there yet, with `skip_existing`; all of them with `overwrite`; else InputError where one
    is."""
    done = [job for job in jobs if not job.streams and job.target.exists()]
    if request.overwrite or not done:
        return list(jobs)
    if request.skip_existing:
        return [job for job in jobs if job not in done]
    which = f"{done[0].target} is" if len(jobs) == 1 else f"{len(done)} of {len(jobs)} results are"
    raise InputError(f"{which} there already; give --overwrite, --skip-existing or another --output")


def _single_job(text: str, output: str | None, ending: str | None, suffix: str | None) -> Job:
    if suffix is not None and (output or text == STREAM):
        raise InputError("--suffix is for results in a folder or beside their input; give --output a folder, or none")
    if text != STREAM:
        check_regular(text, "picture")
    if suffix is not None:
        output = str(Path(text).with_name(f"{Path(text).stem}{suffix}{ending or '.png'}"))
    target = Path(output or (STREAM if text == STREAM else f"output{ending or '.png'}"))
    if ending and str(target) != STREAM and target.suffix.lower() != ending:
        raise InputError(f"--format {ending[1:]} and --output {target} are two formats; remove one")
    return Job(Path(text), target, WRITTEN[ending or ".png"] if str(target) == STREAM else format_of(target))


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(text)


def _sources(text: str, output: Path, apart: bool, beside: bool) -> list[tuple[Path, Path]]:
    """Pictures that one --input means, and the folder each has below its own; several folders stay
    `apart`, and results may lie `beside` them."""
    path = Path(text)
    if path.is_dir():
        if path.resolve() == output.resolve() and not beside:
            raise InputError(f"--output {output} is the input folder: originals would be overwritten; give --suffix")
        found = _pictures_below(path, output)
        if not found:
            raise InputError(f"no pictures in {path}; expected files such as .png or .jpg")
        top = Path(path.resolve().name) if apart else Path()
        return [(picture, top / picture.parent.relative_to(path)) for picture in found]
    if _is_pattern(text):
        parts = Path(text).parts
        base = Path(*parts[: next(number for number, part in enumerate(parts) if glob.has_magic(part))])
        matches = (Path(match) for match in sorted(glob.glob(text, recursive=True)))
        found = [match for match in matches if match.is_file() and is_picture(match)]
        if not found:
            raise InputError(f"no pictures match {text}; check the pattern")
        return [(match, match.parent.relative_to(base)) for match in found]
    check_regular(path, "picture")
    return [(path, Path())]


def _pictures_below(folder: Path, output: Path) -> list[Path]:
    """Pictures in a folder and all below, but hidden ones and what is in the folder for the results; in order."""

    def refuse(error: OSError) -> None:
        raise InputError(f"cannot read the folder {error.filename}: {error.strerror}; change its permissions")

    results, entered, found = output.resolve(), set(), []
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        here = Path(place)
        if here.resolve() in entered:  # a link to a folder that was entered, or to one above
            folders.clear()
            continue
        entered.add(here.resolve())
        folders[:] = sorted(name for name in folders if not name.startswith(".") and (here / name).resolve() != results)
        found += [here / name for name in sorted(names) if is_picture(here / name) and (here / name).is_file()]
    return found


def _check_apart(jobs: Sequence[Job]) -> None:
    """InputError when two jobs would write one file, or one the source of another."""
    sources = {os.path.realpath(job.source): job.source for job in jobs}
    targets = {}
    for job in jobs:
        place = os.path.realpath(job.target)
        if place in targets:
            raise InputError(f"{targets[place]} and {job.source} would both be written to {job.target}; do one alone")
        if place in sources:
            raise InputError(f"{job.source} would overwrite the input {sources[place]}; name another --output")
        targets[place] = job.source
