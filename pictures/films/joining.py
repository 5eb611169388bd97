"""The new pictures of a film in one file with all else that its source holds, which FFmpeg copies."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictures.films.reading import ffmpeg, import_av, opened
from pictures.films.writing import Encoder, FilmJob, Segments
from utils.errors import InputError

NAMES = {"audio": "sound", "subtitle": "subtitles", "attachment": "attachment", "video": "further pictures"}
# Tags of the old streams: who encoded them, whether they had alpha, and mkvmerge's counts of their bytes
STALE = ("ENCODER", "ALPHA_MODE", "BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS_TAGS",
         "_STATISTICS_WRITING_APP", "_STATISTICS_WRITING_DATE_UTC")  # fmt: skip
DAMAGE = ("partial file", "ended prematurely")  # what FFmpeg says of a file that is cut short
ENOUGH = 0.95  # of the time that a stream of AVI says it has: FFmpeg takes what is missing for the end


@dataclass(frozen=True)
class Survey:
    """What goes into the new film: `kept` streams of the source by number, the `covers` among them, files to attach,
    what is `lost`, in words, and whether the source is `cut_short`."""

    kept: tuple[int, ...]
    covers: tuple[Path, ...]
    lost: tuple[str, ...]
    cut_short: bool


def survey(job: FilmJob, encoder: Encoder, segments: Segments) -> Survey:
    """Copies all that the target's container can hold beside the pictures, as a trial before any are made. InputError
    where it cannot hold the pictures."""
    segments.folder.mkdir(parents=True, exist_ok=True)
    trial, index = segments.folder / f"trial.{job.container}", encoder.description.index
    try:
        with import_av().open(str(trial), "w", format=job.container) as output:
            encoder.add_stream(output)
            output.start_encoding()
    except import_av().FFmpegError as error:
        raise InputError(
            f"{job.target}: --codec {job.codec} cannot write this film ({error}); choose another codec or a .mkv"
        ) from None
    kept, covers, lost = [], [], encoder.losses
    with opened(job.source) as source:
        for stream in source.streams:
            cover = stream.disposition & import_av().stream.Disposition.attached_pic
            if stream.index == index:
                kept.append(index)
            elif cover and job.container == "matroska":
                covers.append(_extracted(source, stream, segments.folder))
            elif _holds(job, stream, trial):
                kept.append(stream.index)
            else:
                name = "cover" if cover else NAMES.get(stream.type, "data")
                codec = getattr(stream.codec_context, "name", None) or "of a kind that FFmpeg does not know"
                lost.append(f"without {name} ({codec}), which {job.target.suffix} cannot hold")
        cut_short = source.format.name == "avi" and _is_short(source, source.streams[index])
        moving = [number for number in kept if number != index and source.streams[number].type != "attachment"]
    copied = (*_maps(0, moving), "-c", "copy", "-f", job.container, trial) if moving else ()
    done = _run("-i", job.source, *copied, *_everything(0))
    if done.returncode:
        raise InputError(f"{job.source} cannot be copied ({_reason(done)}); write a .mkv")
    trial.unlink()
    cut_short = cut_short or any(text in done.stderr for text in DAMAGE)
    return Survey(tuple(kept), tuple(covers), tuple(lost), cut_short)


def join(job: FilmJob, encoder: Encoder, segments: Segments, plan: Survey, path: Path, describe: bool) -> None:
    """Write the film to `path`; with `describe` titles, languages and chapters, too.

    Of a part of a film, times begin at 0, and sound and subtitles are those that begin within it.
    """
    pictures = segments.folder / f"pictures{job.target.suffix}"
    first, end = segments.write_pictures(encoder, job.container, pictures)
    part = ("-itsoffset", str(float(-first)), "-t", str(float(end - first))) if job.is_part else ()
    later = () if job.is_part else ("-itsoffset", str(float(first)))
    index = encoder.description.index
    place = plan.kept.index(index)
    maps = [*_maps(1, plan.kept[:place]), "-map", "0:v", *_maps(1, plan.kept[place + 1 :])]
    said = ["-map_chapters", "-1" if job.is_part or not describe else "1", "-map_metadata", "1" if describe else "-1"]
    for new, old in enumerate(plan.kept):
        said += [f"-map_metadata:s:{new}", f"1:s:{old}" if describe else "-1"]
    for tag in STALE:
        said += ["-metadata:s", f"{tag}=", "-metadata:s", f"{tag}-eng="]
    if job.codec == "h265" and job.container in ("mp4", "mov"):
        said += [f"-tag:{place}", "hvc1"]  # hev1 does not play on Apple's devices
    for number, cover in enumerate(plan.covers, len(plan.kept)):
        said += ["-attach", f"file:{cover}", f"-metadata:s:{number}", f"mimetype={_mime(cover)}"]
    with opened(job.source) as source:
        shown = [source.streams[number].disposition for number in plan.kept]
    for number, disposition in enumerate(shown):
        said += [f"-disposition:{number}", "+".join(_words(disposition)) or "0"]
    dropped = ("-copypriorss:a", "0", "-copypriorss:s", "0") if job.is_part else ()
    made = (*later, "-i", pictures, *part, "-i", job.source)
    # Else times in MP4 begin at whole milliseconds
    boxes = ("-movflags", "+faststart", "-movie_timescale", "90000") if job.container in ("mp4", "mov") else ()
    written = ("-c", "copy", *said, *dropped, *boxes, "-f", job.container, path)
    done = _run(*made, *maps, *written, *_everything(1))
    if done.returncode:
        raise InputError(f"cannot write {job.target}: {_reason(done)}")


def _run(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        ffmpeg(*arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )


def _holds(job: FilmJob, stream: Any, trial: Path) -> bool:
    """Whether the target's container takes a stream of the source; WebM drops attachments without a word."""
    if stream.type == "attachment":
        return job.container == "matroska"
    copied = ("-map", f"0:{stream.index}", "-c", "copy", "-t", "0", "-f", job.container, trial)
    return _run("-i", job.source, *copied).returncode == 0


def _maps(number: int, streams: Sequence[int]) -> list[str]:
    return [argument for stream in streams for argument in ("-map", f"{number}:{stream}")]


def _everything(number: int) -> tuple[str, ...]:
    """Read all streams of an input: FFmpeg carries on a clock that jumps by the streams that it reads."""
    return ("-map", f"{number}", "-ignore_unknown", "-c", "copy", "-f", "null", "-")


def _reason(done: subprocess.CompletedProcess) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[0].partition("] ")[2] or lines[0] if lines else f"FFmpeg ended with {done.returncode}"


def _is_short(source: Any, stream: Any) -> bool:
    ends = [packet.pts for packet in source.demux(stream) if packet.pts is not None]
    return bool(stream.duration) and max(ends, default=0) < ENOUGH * stream.duration - 1


def _extracted(source: Any, stream: Any, folder: Path) -> Path:
    """The picture of a cover, which Matroska holds as an attachment, as a file."""
    path = folder / f"cover{stream.index}.{'png' if stream.codec_context.name == 'png' else 'jpg'}"
    path.write_bytes(bytes(next(packet for packet in source.demux(stream) if packet.size)))
    source.seek(0)
    return path


def _mime(cover: Path) -> str:
    return "image/png" if cover.suffix == ".png" else "image/jpeg"


def _words(disposition: Any) -> list[str]:
    return [flag.name for flag in type(disposition) if flag & disposition]
