"""Tars of WebDataset, in which files that follow each other and are called alike up to the first dot are a sample:
their pictures painted, all else copied, under the same keys."""

import tarfile
import time
import zlib
from io import BytesIO
from itertools import groupby
from pathlib import Path

from tqdm import tqdm

from painting.jobs import Job
from painting.painter import Painter
from painting.plan import Painted
from pictures.formats import WRITTEN
from pictures.reading import STREAM, is_picture, read_picture
from pictures.writing import encode
from utils.errors import InputError
from utils.files import atomic_file
from utils.progress import SLOW, told_to
from utils.system import check_memory


def paint_tar(painter: Painter, job: Job) -> Painted:
    """Write a tar whose pictures, such as `key.jpg`, are painted, and called after the job's format, `key.png`; those
    with more in their names, such as `key.mask.png`, are copied as all else is.

    InputError for a tar that cannot be read to its end, of which nothing is written; and, after the others are written,
    for pictures that failed, whose samples are left out.
    """
    started, count, pictures, lines, failures = time.perf_counter(), 0, 0, [], []
    try:
        with (
            told_to(None),
            tarfile.open(job.source) as given,
            atomic_file(job.target) as temporary,
            tarfile.open(temporary, "w") as made,
        ):
            samples = groupby((entry for entry in given if entry.isfile()), lambda entry: _parts(entry.name)[0])
            for _, entries in tqdm(samples, unit=" samples", disable=None, delay=SLOW, leave=False):
                try:
                    files = [_made(painter, job, given, entry, lines) for entry in entries]
                except InputError as error:
                    failures.append(error)
                    continue
                for entry, content, is_painted in files:
                    made.addfile(entry, BytesIO(content))
                    pictures += is_painted
                count += 1
            given.fileobj.seek(given.offset)
            if given.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes any damage for the end
                raise tarfile.ReadError("damaged in the middle")
            if not (pictures or failures):
                raise InputError(f"{job.source} holds no pictures such as key.jpg or key.png; check the names in it")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        what = str(error).partition(":")[0]  # behind it follows what each way to open it says
        raise InputError(f"{job.source} cannot be read as a tar: {what}; make it again") from None
    if failures:
        raise InputError(f"{job.source}: {len(failures)} of {count + len(failures)} samples left out: {failures[0]}")
    said, seconds = f"{count} samples, {pictures} pictures", time.perf_counter() - started
    lines.append(f"{job.source.name}: {said} in {seconds:.2f} s{painter.note}")
    return Painted(None, lines=lines)


def _parts(name: str) -> tuple[str, str]:
    """A file's key and ending: `a/b` and `.mask.png` of `a/b.mask.png`."""
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.partition(".")
    return folder + slash + stem, dot + ending


def _made(
    painter: Painter, job: Job, given: tarfile.TarFile, entry: tarfile.TarInfo, lines: list[str]
) -> tuple[tarfile.TarInfo, bytes, bool]:
    """An entry of the new tar, its content, and whether it was painted; what there is to say is added to `lines`."""
    name = f"{job.source}/{entry.name}"
    check_memory(entry.size, name, painter.request.memory)
    content, (key, ending) = given.extractfile(entry).read(), _parts(entry.name)
    if is_painted := is_picture(Path(f"x{ending}")) and ending.count(".") == 1:
        ending = next(ending for ending, form in WRITTEN.items() if form.name == job.form.name)
        inner, stream = Job(Path(name), Path(STREAM), job.form), BytesIO()
        painted = painter.paint(inner, read_picture(content, name))
        lost = encode(stream, name, job.form, painted.picture, painter.request.compression)
        lines += [*painted.lines[:-1], *(f"{name}: written without {what}" for what in lost)]
        content = stream.getvalue()
    made = tarfile.TarInfo(key + ending)
    made.size, made.mtime = len(content), entry.mtime
    return made, content, is_painted
