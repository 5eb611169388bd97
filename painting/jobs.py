"""The pictures, or the film, that a request names, and where their results go."""

import glob
import io
import itertools
import math
import os
import re
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from utils.geometry.sizes import Size

# Endings of inputs that are films whatever the output is called
READ = {
    *CONTAINERS, ".m4v", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".ogv", ".3gp", ".y4m", ".nut"
}  # fmt: skip
FILMS_ONLY = frozenset({"codec", "keep_depth", "frames", "resume"})  # that pictures have not
PICTURES_ONLY = frozenset({"mask", "compare", "cmsr_map", "shard", "suffix", "format", "depth", "compression"})
# Variables of SLURM and Kubernetes: a job's number in its array, how many jobs, the first number, the numbers' distance
ARRAYS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", "", ""),
)
TAR = ".tar"
RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
MOST_NAMES = 1_000_000


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

    @property
    def is_tar(self) -> bool:
        """Whether it is of all pictures in a tar, see `painting.tars`."""
        return self.source.suffix.lower() == TAR

    @property
    def compared(self) -> Path:
        """The file that `compare` writes, `out_compare.png` of `out.jpg`."""
        return self.target.with_name(f"{self.target.stem}_compare.png")

    def read(self, rows: Callable[[Size], slice | None] | None = None) -> Picture | Animation | None:
        """An animation where the source is one and the format holds such; None of a tar, which is read while it is
        painted. `rows` and InputError as `read_picture`."""
        if self.is_tar:
            return None
        source = sys.stdin.buffer.read() if str(self.source) == STREAM else self.source
        animation = read_animation(source) if self.form.is_animated else None
        return animation or read_picture(source, rows=rows)

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
    if not any(Path(path).suffix.lower() in READ for path in filter(None, [request.output, *request.input])):
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
    return FilmJob(source, target, codec, request.quality, first or 0, last, request.keep_depth)


def find_jobs(request: Request) -> list[Job]:
    """Jobs for files, folders (with all below them), patterns such as `photos/**/*.jpg` and `{000..099}.tar`, or `-`;
    InputError when there is nothing to read or nowhere to write.

    One file goes to the file `output`, or into it where that is a folder; all others go into a folder, which mirrors
    the folders of the inputs, named by their stems, or by their whole names where two would get one name, with `suffix`
    and the ending of `format`, .png by default; with a `suffix`, also beside their inputs.
    """
    output, suffix = request.output, request.suffix
    inputs = [name for text in dict.fromkeys(request.input) for name in _counted(text)]
    if suffix and Path(suffix).name != suffix:
        raise InputError(f"--suffix {suffix} holds a folder; give letters that end a name, such as _x4")
    single = len(inputs) == 1 and not Path(inputs[0]).is_dir() and not _is_pattern(inputs[0])
    into = output is not None and (output.endswith(("/", os.sep)) or Path(output).is_dir())
    if STREAM in inputs and (len(inputs) > 1 or into):
        raise InputError("--input - is one picture, so it is the only input, and --output is a file or -")
    if single and not into:
        return [_single_job(inputs[0], request)]
    folder = Path(output or "output")
    if output == STREAM:
        raise InputError("--output - takes one picture, not several; name a folder")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file, but --input is several pictures; name a folder")
    if folder.suffix.lower() in (*WRITTEN, TAR) and not into:
        raise InputError(f"--output {folder} is one picture, but --input is several; name a folder, or {folder}/")
    by_place = defaultdict(list)
    roots = [Path(text) for text in inputs if Path(text).is_dir()]
    for text in inputs:
        for path, place in _sources(text, folder, apart=len(roots) > 1, beside=bool(suffix)):
            if not (suffix and path.stem.endswith(suffix) and path.parent.resolve() == (folder / place).resolve()):
                by_place[folder / place].append(path)  # else a result of an earlier run, beside its input
    return [
        _job(path, place / f"{name}{suffix or ''}{_ending(path, request)}", request)
        for place, paths in by_place.items()
        for path, name in distinct_names(list(dict.fromkeys(paths))).items()
    ]


def _ending(source: str | Path, request: Request) -> str:
    """The ending of a result whose name does not follow from `output`."""
    return TAR if Path(source).suffix.lower() == TAR else f".{request.format or 'png'}"


def _job(source: Path, target: Path, request: Request) -> Job:
    follows = str(target) == STREAM or source.suffix.lower() == TAR
    form = WRITTEN[f".{request.format or 'png'}"] if follows else format_of(target)
    return Job(source, target, form if request.quality is None else form.of_quality(request.quality))


def shard_of(request: Request, jobs: Sequence[Job]) -> tuple[int, int] | None:
    """(K, N): the part of the pictures that this run makes, as asked for or as a job array says; None: all.

    Parts are of what goes into a folder: the tasks of an array may also each make the one picture that they name.
    InputError where K is not from 1 to N.
    """
    shard = request.shard or _place_in_array()
    if shard and len(jobs) == 1 and Path(request.output or "output") not in jobs[0].target.parents:
        if request.shard:
            raise InputError("--shard is for results in a folder, beside which it lists them; give --output a folder")
        return None
    if shard and not 1 <= shard[0] <= shard[1]:
        raise InputError(
            f"part {shard[0]} of {shard[1]}: parts are counted from 1; give --shard K/N with K from 1 to N"
        )
    return shard


def _place_in_array() -> tuple[int, int] | None:
    """(K, N) of the job array that this process belongs to."""
    for index, count, first, step in ARRAYS:
        said = [os.environ.get(*each) for each in ((index, ""), (count, ""), (first, "0"), (step, "1"))]
        if all(text.isdecimal() for text in said):
            number, total, smallest, distance = map(int, said)
            return (number - smallest) // max(distance, 1) + 1, total
    return None


def part_of(jobs: Sequence[Job], shard: tuple[int, int] | None) -> list[Job]:
    """The jobs of a part: a picture's is decided by its path alone, whichever others there are."""
    if shard is None:
        return list(jobs)
    part, count = shard
    return [job for job in jobs if zlib.crc32(job.source.as_posix().encode()) % count == part - 1]


def check_outputs(jobs: Sequence[Job], request: Request) -> None:
    """InputError, before any work, when a result cannot be written, two would be one file, or one would replace an
    input."""
    beside = {"--mask": request.mask, "--cmsr-map": request.cmsr_map}
    beside = {option: Path(path) for option, path in beside.items() if path}
    if beside and (len(jobs) > 1 or jobs[0].is_tar):
        raise InputError("--mask and --cmsr-map are for one picture; give --input a picture")
    if request.compare:
        beside |= {f"what --compare shows of {job.source}": job.compared for job in jobs}
    sources = {os.path.realpath(job.source): job.source for job in jobs}
    taken = {}
    for what, path in [*((job.source, job.target) for job in jobs if not job.streams), *beside.items()]:
        place = os.path.realpath(path)
        if place in sources:
            raise InputError(f"{what} would overwrite the input {sources[place]}; name a different --output")
        if place in taken:
            raise InputError(f"{taken[place]} and {what} would both be written to {path}; name different files")
        taken[place] = what
        (check_target if path.suffix.lower() == TAR else check_writable)(path)
    for job in jobs:
        if request.compare and (job.is_tar or job.streams):
            raise InputError(f"--compare writes beside a picture's file, not beside {job.target}; remove it")
        if request.is_transparent_warp and not job.form.has_alpha:
            raise InputError(f"{job.target}: this format has no transparency; give --background black, or write a .png")
        if request.compression is not None and job.form.name != "PNG":
            raise InputError(f"{job.target}: --compression is for .png; remove it or write a .png")
        if request.background and job.form.has_alpha and not request.is_warp:
            raise InputError(f"{job.target} holds transparency; --background is for warps and formats without")
    for path in beside.values():
        remaining([Job(path, path, format_of(path))], request)


def remaining(jobs: Sequence[Job], request: Request) -> list[Job]:
    """Jobs whose result is not there yet, with `skip_existing`; all of them with `overwrite`; else InputError where one
    is."""
    missing = [job for job in jobs if job.streams or not job.target.exists()]
    if request.overwrite or len(missing) == len(jobs):
        return list(jobs)
    if request.skip_existing:
        return missing
    there = len(jobs) - len(missing)
    which = f"{jobs[0].target} is" if len(jobs) == 1 else f"{there} of {len(jobs)} results are"
    raise InputError(f"{which} there already; give --overwrite, --skip-existing or another --output")


def _single_job(text: str, request: Request) -> Job:
    output, suffix, ending = request.output, request.suffix, _ending(text, request)
    if suffix is not None and (output or text == STREAM):
        raise InputError("--suffix is for results in a folder or beside their input; give --output a folder, or none")
    if text != STREAM:
        check_regular(text, "picture")
    if suffix is not None:
        output = str(Path(text).with_name(f"{Path(text).stem}{suffix}{ending}"))
    target = Path(output or (STREAM if text == STREAM else f"output{ending}"))
    if ending == TAR != target.suffix.lower():
        raise InputError(f"--output {target} is one picture, but {text} holds several; name a .tar or a folder")
    if request.format and str(target) != STREAM and target.suffix.lower() != ending:
        raise InputError(f"--format {request.format} and --output {target} are two formats; remove one")
    return _job(Path(text), target, request)


def _counted(text: str) -> list[str]:
    """`{08..11}` in a name as those numbers, with as many digits, as shells do and WebDataset writes."""
    if os.path.lexists(text):
        return [text]
    first, *others = RANGE.split(text)
    begins, ends, between = others[::3], others[1::3], others[2::3]
    spans = [range(int(begin), int(end) + 1) for begin, end in zip(begins, ends, strict=True)]
    if not 1 <= math.prod(map(len, spans)) <= MOST_NAMES:
        raise InputError(f"--input {text}: a range counts upwards, and at most {MOST_NAMES:,} names are meant by one")
    numbers = ([str(n).zfill(len(begin)) for n in span] for begin, span in zip(begins, spans, strict=True))
    return [first + "".join(map(str.__add__, each, between)) for each in itertools.product(*numbers)]


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
        found = [m for m in matches if m.is_file() and (is_picture(m) or m.suffix.lower() == TAR)]
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
