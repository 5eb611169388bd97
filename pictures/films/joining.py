"""The new pictures of a film in one file with all else that its source holds, which FFmpeg copies."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictures.films.reading import everything, ffmpeg, import_av, opened
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
    """What goes into the new film: `kept` streams of the source by number, the `covers` among them, files and names,
    what is `lost`, in words, and whether the source is `cut_short`."""

    kept: tuple[int, ...]
    covers: tuple[tuple[Path, str], ...]
    lost: tuple[str, ...]
    cut_short: bool


def survey(job: FilmJob, encoder: Encoder, segments: Segments) -> Survey:
    """Copies all that the target's container can hold beside the pictures, as a trial before any are made. InputError
    where it cannot hold the pictures."""
    segments.folder.mkdir(parents=True, exist_ok=True)
    trial, index = segments.folder / f"trial.{job.container}", encoder.description.index
    to_trial = ("-c", "copy", "-f", job.container, trial)
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
            if cover and job.container == "matroska":
                path = _extracted(source, stream, segments.folder)
                covers.append((path, stream.metadata.get("filename", path.name)))
                continue
            holds = job.container == "matroska"  # WebM drops attachments without a word
            if stream.index != index and stream.type != "attachment":
                holds = _run("-i", job.source, "-map", f"0:{stream.index}", "-t", "0", *to_trial).returncode == 0
            if stream.index == index or holds:
                kept.append(stream.index)
            else:
                name = "cover" if cover else NAMES.get(stream.type, "data")
                codec = getattr(stream.codec_context, "name", None) or "of a kind that FFmpeg does not know"
                lost.append(f"without {name} ({codec}), which {job.target.suffix} cannot hold")
        cut_short = source.format.name == "avi" and _is_short(source, source.streams[index])
        moving = [number for number in kept if number != index and source.streams[number].type != "attachment"]
    done = _run("-i", job.source, *((*_maps(0, moving), *to_trial) if moving else ()), *everything(0))
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
    place, is_box = plan.kept.index(encoder.description.index), job.container in ("mp4", "mov")
    given = ["-itsoffset", str(float(first)), "-i", pictures, "-i", job.source]
    if job.is_part:
        given = ["-i", pictures, "-itsoffset", str(float(-first)), "-t", str(float(end - first)), "-i", job.source]
    said = [*_maps(1, plan.kept[:place]), "-map", "0:v", *_maps(1, plan.kept[place + 1 :]), "-c", "copy"]
    said += ["-map_chapters", "-1" if job.is_part or not describe else "1", "-map_metadata", "1" if describe else "-1"]
    for tag in STALE:
        said += ["-metadata:s", f"{tag}=", "-metadata:s", f"{tag}-eng="]
    with opened(job.source) as source:
        for new, old in enumerate(plan.kept):
            shown = source.streams[old].disposition
            flags = "+".join(flag.name for flag in type(shown) if flag & shown) or "0"
            said += [f"-map_metadata:s:{new}", f"1:s:{old}" if describe else "-1", f"-disposition:{new}", flags]
    for number, (cover, name) in enumerate(plan.covers, len(plan.kept)):
        said += ["-attach", f"file:{cover}"]
        for tag in (f"mimetype=image/{cover.suffix[1:]}", f"filename={name}"):
            said += [f"-metadata:s:{number}", tag]
    if job.is_part:
        said += ["-copypriorss:a", "0", "-copypriorss:s", "0"]
    if is_box:  # else times in MP4 begin at whole milliseconds
        said += ["-movflags", "+faststart", "-movie_timescale", "90000"]
    if is_box and job.codec == "h265":
        said += [f"-tag:{place}", "hvc1"]  # hev1 does not play on Apple's devices
    done = _run(*given, *said, "-f", job.container, path, *everything(1))
    if done.returncode:
        raise InputError(f"cannot write {job.target}: {_reason(done)}")


def _run(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        ffmpeg(*arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )


def _maps(number: int, streams: Sequence[int]) -> list[str]:
    return [argument for stream in streams for argument in ("-map", f"{number}:{stream}")]


def _reason(done: subprocess.CompletedProcess) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[0].partition("] ")[2] or lines[0] if lines else f"FFmpeg ended with {done.returncode}"


def _is_short(source: Any, stream: Any) -> bool:
    ends = [packet.pts for packet in source.demux(stream) if packet.pts is not None]
    return bool(stream.duration) and max(ends, default=0) < ENOUGH * stream.duration - 1


def _extracted(source: Any, stream: Any, folder: Path) -> Path:
    """The picture of a cover, which Matroska holds as an attachment, as a file."""
    path = folder / f"cover{stream.index}.{'png' if stream.codec_context.name == 'png' else 'jpeg'}"
    path.write_bytes(bytes(next(packet for packet in source.demux(stream) if packet.size)))
    source.seek(0)
    return path
