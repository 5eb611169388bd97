"""The film's segments, sound, subtitles and chapters in one file."""

import heapq
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from pictures.films.reading import import_av, opened, picture_stream
from pictures.films.writing import Encoder, FilmJob, Segments, decoding_times, seconds
from utils.errors import InputError

COPIED = ("audio", "subtitle")


def companions(job: FilmJob, encoder: Encoder) -> tuple[list[int], list[str]]:
    """Numbers of the source's streams of sound and subtitles that the target's container can hold beside the film, and
    what is lost, in words. InputError when it cannot hold the film itself."""
    kept, lost = [], []
    with opened(job.source) as source:
        try:
            _try_header(job, encoder, [])
        except import_av().FFmpegError as error:
            raise InputError(
                f"{job.target}: --codec {job.codec} cannot write this film ({error}); choose another codec or a .mkv"
            ) from None
        for stream in source.streams:
            if stream.type in COPIED:
                try:
                    _try_header(job, encoder, [stream])
                except (ValueError, import_av().FFmpegError):
                    name = "sound" if stream.type == "audio" else "subtitles"
                    lost.append(f"without {name} ({stream.codec_context.name}), which {job.target.suffix} cannot hold")
                else:
                    kept.append(stream.index)
    return kept, lost


def _try_header(job: FilmJob, encoder: Encoder, streams: Sequence[Any]) -> None:
    with import_av().open(io.BytesIO(), "w", format=job.container) as output:
        encoder.add_stream(output)
        for stream in streams:
            output.add_stream_from_template(stream)
        output.start_encoding()


def join(job: FilmJob, encoder: Encoder, segments: Segments, kept: Sequence[int], path: Path, describe: bool) -> None:
    """Write the film to `path`; with `describe` titles, languages and chapters, too.

    Of a part of a film, times begin at 0, and sound and subtitles are those that begin within it.
    """
    av, base = import_av(), encoder.description.time_base
    times = [packet.time for packet in segments.packets(with_data=False)]
    is_part = job.first > 0 or job.last is not None
    origin = min(times) if is_part else 0
    last = max((packet.time + packet.duration for packet in segments.packets(with_data=False)), default=0)
    with opened(job.source) as source, av.open(str(path), "w", format=job.container) as output:
        film = encoder.add_stream(output)
        streams = {number: output.add_stream_from_template(source.streams[number]) for number in kept}
        if describe:
            output.metadata.update(source.metadata)
            for number, stream in streams.items():
                stream.metadata.update(source.streams[number].metadata)
            film.metadata.update(picture_stream(source, job.source).metadata)
            if not is_part:
                with suppress(AttributeError, ValueError):
                    output.set_chapters(source.chapters())
        output.start_encoding()
        others = _copied(source, streams, (origin * base, last * base) if is_part else None)
        for _, packet in heapq.merge(_film_packets(film, segments, times, origin, base), others, key=lambda x: x[0]):
            output.mux(packet)


def _film_packets(
    stream: Any, segments: Segments, times: Sequence[int], origin: int, base: Fraction
) -> Iterator[tuple[float, Any]]:
    for encoded, decoded in zip(segments.packets(), decoding_times(times), strict=True):
        packet = import_av().Packet(encoded.data)
        packet.stream, packet.time_base = stream, base
        packet.pts, packet.dts, packet.is_keyframe = encoded.time - origin, decoded - origin, encoded.is_key
        if encoded.duration:
            packet.duration = encoded.duration
        yield seconds(decoded - origin, base), packet


def _copied(
    source: Any, streams: dict[int, Any], part: tuple[Fraction, Fraction] | None
) -> Iterator[tuple[float, Any]]:
    if not streams:
        return
    for packet in source.demux([source.streams[number] for number in streams]):
        if packet.dts is None or not packet.size:
            continue  # what ends a stream
        if part:
            if not part[0] <= packet.pts * packet.time_base < part[1]:
                continue
            shift = round(part[0] / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        packet.stream = streams[packet.stream.index]
        yield seconds(packet.dts, packet.time_base), packet
