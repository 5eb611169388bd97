"""Films in segments that are encoded alone, kept beside the output, and joined at the end without another loss.

A segment is a Matroska file whose milliseconds stand for the film's own unit, so that its times are exact: whatever
ended a run, the next one goes on behind the last whole segment, and what comes out is what an uninterrupted run gives.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pictures.films.reading import (
    ARRAYS,
    FULL,
    LIMITED,
    RGB_FORMATS,
    Description,
    converted,
    converting,
    import_av,
)
from pictures.formats import EVERYTHING, Format
from pictures.picture import Picture
from utils.errors import InputError
from utils.files import atomic_file

ENCODER_THREADS = 2  # fixed, as x264 and x265 give other bytes with other numbers
FASTEST = Fraction(240)  # frames a second, for the encoders' planning alone: SVT-AV1 refuses more; times are exact
TICK = Fraction(1, 1000)  # of Matroska
LARGEST_SHAPE = 1 << 15  # of the numbers that say the shape of a pixel
# Containers that are written, and what PyAV calls them
CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


@dataclass(frozen=True)
class Codec:
    """An encoder by its name in FFmpeg; `quality` unless another is given, 0 being the best, up to `worst`, or None
    for a codec without loss; fixed `options`."""

    encoder: str
    quality: int | None
    worst: int
    options: Mapping[str, str]

    def options_for(self, quality: int | None) -> dict[str, str]:
        """As options of the encoder."""
        chosen = self.quality if quality is None else quality
        return {**self.options, **({} if chosen is None else {"crf": str(chosen)})}


CODECS = {
    "h264": Codec("libx264", 18, 51, {"preset": "medium"}),
    "h265": Codec("libx265", 20, 51, {"preset": "medium", "x265-params": "log-level=error"}),
    "av1": Codec("libsvtav1", 24, 63, {"preset": "8"}),
    "ffv1": Codec("ffv1", None, 0, {"level": "3", "slicecrc": "1"}),
}
_COLOURS = ("L", "RGB")
PLAIN = Format("film", {8: _COLOURS}, EVERYTHING)
OPAQUE = Format("film", {8: _COLOURS, 16: _COLOURS}, EVERYTHING)
TRANSPARENT = Format("film", dict.fromkeys((8, 16), (*_COLOURS, "RGBA")), EVERYTHING)


@dataclass(frozen=True)
class FilmJob:
    """A film to read, where to write what is made of it, how, and which frames: `first` to before `last`.

    H.264 is of 8 bits with halved chroma, which plays everywhere, unless depth and chroma are kept.
    """

    source: Path
    target: Path
    codec: str
    quality: int | None
    first: int = 0
    last: int | None = None
    keep_depth: bool = False

    @property
    def is_part(self) -> bool:
        """Whether it is to be shorter than its source."""
        return self.first > 0 or self.last is not None

    @property
    def form(self) -> Format:
        """What frames can be written as."""
        if self.codec == "h264" and not self.keep_depth:
            return PLAIN
        return TRANSPARENT if self.codec == "ffv1" else OPAQUE

    @property
    def container(self) -> str:
        """Of the target, as PyAV calls it."""
        return CONTAINERS[self.target.suffix.lower()]


class Encoder:
    """Makes segments of a film whose frames are as `picture`, which has the shape of a pixel as its resolution."""

    def __init__(self, job: FilmJob, description: Description, picture: Picture):
        self.job, self.description = job, description
        self.codec = CODECS[job.codec]
        self.channels, self.depth = picture.channels, picture.pixel_format.depth
        self.layout = self._layout()
        form = import_av().VideoFormat(self.layout)
        height, width = picture.size
        self.size = _multiple(height, 16 // form.chroma_height(16)), _multiple(width, 16 // form.chroma_width(16))
        if 0 in self.size:
            raise InputError(f"{job.target}: films are at least 2x2; choose a larger size")
        across, down = picture.metadata.dpi or (1.0, 1.0)
        self.pixel_shape = Fraction(down / across).limit_denominator(LARGEST_SHAPE)
        self._graph: Any = None

    @property
    def losses(self) -> list[str]:
        """What of the source's chroma is not kept, in words."""
        form = import_av().VideoFormat
        given, made = (
            (layout.chroma_width(64), layout.chroma_height(64))
            for layout in (form(self.description.layout), form(self.layout))
        )
        is_less = self.channels != "L" and any(new < old for new, old in zip(made, given, strict=True))
        return ["chroma halved; --keep-depth keeps it"] if is_less and not self._is_rgb else []

    @property
    def _is_rgb(self) -> bool:
        return self.description.layout.startswith(RGB_FORMATS)

    def add_stream(self, container: Any) -> Any:
        """A stream for the film's frames in an output container."""
        av = import_av()
        described, colours = self.description, self.description.colours
        options = {"chroma_sample_location": colours.chroma, **self.codec.options_for(self.job.quality)}
        try:
            stream = container.add_stream(self.codec.encoder, rate=min(described.rate, FASTEST), options=options)
        except (av.codec.codec.UnknownCodecError, ValueError):
            raise InputError(
                f"--codec {self.job.codec} in {self.job.target}: this PyAV cannot write it; choose another of "
                f"{', '.join(available())}, or write a .mkv"
            ) from None
        stream.time_base = described.time_base
        context = stream.codec_context
        context.height, context.width = self.size
        context.pix_fmt = self.layout
        context.time_base = described.time_base
        context.thread_count = ENCODER_THREADS
        context.colorspace, context.color_range = self._matrix(), self._span()
        context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        context.sample_aspect_ratio = self.pixel_shape
        return stream

    def encode(self, frames: Iterator[tuple[np.ndarray, int, int]], path: Path) -> int:
        """Write a segment of frames, pixels, time, duration; says how many there were."""
        durations: dict[int, int] = {}
        with import_av().open(str(path), "w", format="matroska") as container:
            stream = self.add_stream(container)
            for pixels, time, duration in frames:
                durations[time] = duration
                container.mux(self._ticking(stream.encode(self._frame(pixels, time)), durations))
            if durations:
                container.mux(self._ticking(stream.encode(None), durations))
        return len(durations)

    def _ticking(self, packets: Sequence[Any], durations: Mapping[int, int]) -> list[Any]:
        """Packets with the film's unit as if it were milliseconds."""
        for packet in packets:
            factor = packet.time_base / self.description.time_base
            packet.pts, packet.dts = round(packet.pts * factor), round(packet.dts * factor)
            packet.duration, packet.time_base = durations.get(packet.pts, 0), TICK
        return list(packets)

    def _frame(self, pixels: np.ndarray, time: int) -> Any:
        height, width = self.size
        array = np.ascontiguousarray(pixels[:height, :width])
        array = array[:, :, 0] if array.shape[2] == 1 else array
        frame = import_av().VideoFrame.from_ndarray(array, format=ARRAYS[self.channels, self.depth])
        if self._graph is None:
            chroma, matrix, span = self.description.colours.chroma, self._matrix(), self._span()
            options = f"out_color_matrix={matrix}:in_range=full:out_range={span}:out_chroma_loc={chroma}"
            self._graph = converting(frame, self.layout, options)
        frame = converted(self._graph, frame)
        if self.layout.startswith("yuva"):
            _set_alpha(frame, array[:, :, 3])
        frame.colorspace, frame.color_range = self._matrix(), self._span()
        frame.color_primaries, frame.color_trc = self.description.colours.primaries, self.description.colours.transfer
        frame.pts, frame.time_base = time, self.description.time_base
        return frame

    def _matrix(self) -> int:
        return 0 if self.layout.startswith(RGB_FORMATS) else self.description.colours.matrix or 1

    def _span(self) -> int:
        if self.layout.startswith(RGB_FORMATS):
            return FULL
        return LIMITED if self._is_rgb else self.description.colours.span

    def _layout(self) -> str:
        """The pixel format of the source where the encoder takes it, else the nearest that it takes."""
        av = import_av()
        try:
            formats = [form.name for form in av.codec.Codec(self.codec.encoder, "w").video_formats]
        except av.codec.codec.UnknownCodecError:
            raise InputError(
                f"--codec {self.job.codec} is not in this PyAV; choose another of {', '.join(available())}"
            ) from None
        if self.job.form is PLAIN:
            return "yuv420p"
        given, deep, alpha = self.description.layout, self.depth > 8, self.channels == "RGBA"
        wanted = [given] if self.channels == self.description.channels or not alpha else []
        if self.channels == "L":
            wanted += ["gray16le", "gray10le"] if deep else ["gray"]
        if alpha:
            wanted += ["yuva444p16le"] if deep else ["bgra"]
        if self._is_rgb:
            wanted += ["gbrp16le"] if deep else ["bgr0", "gbrp"]
        wanted += [*(["yuv420p10le"] if deep else []), "yuv420p"]
        return next(name for name in wanted if name in formats and _has_alpha(name) == alpha)


def _set_alpha(frame: Any, alpha: np.ndarray) -> None:
    """Exactly: FFmpeg's scaler rounds some levels up."""
    plane, bits = frame.planes[3], frame.format.components[3].bits
    if alpha.dtype == np.uint16:
        alpha = (alpha >> (16 - bits)).astype(np.uint8 if bits == 8 else "<u2")
    rows = np.zeros((len(alpha), plane.line_size), np.uint8)
    content = np.ascontiguousarray(alpha).view(np.uint8)
    rows[:, : content.shape[1]] = content
    plane.update(rows)


def _has_alpha(name: str) -> bool:
    return any(component.is_alpha for component in import_av().VideoFormat(name).components)


def _multiple(side: int, unit: int) -> int:
    return side // unit * unit


def available() -> list[str]:
    """`--codec` names whose encoder this PyAV has."""
    av = import_av()
    found = []
    for name, codec in CODECS.items():
        try:
            av.codec.Codec(codec.encoder, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        found.append(name)
    return found


class Segments:
    """The folder `.NAME.parts` beside a film that is being made, of a short name: its settings, and what is done."""

    def __init__(self, target: Path):
        name = target.name if len(target.name) < 60 else hashlib.sha256(target.name.encode()).hexdigest()[:16]
        self.folder = target.with_name(f".{name}.parts")

    def start(self, settings: Mapping[str, Any], resume: bool, overwrite: bool) -> int:
        """How many frames are done, for a film that is made with `settings`. InputError where others are there."""
        state = self.folder / "settings.json"
        if self.folder.exists() and not resume:
            if not overwrite and self._files():
                raise InputError(f"{self.folder} holds an unfinished film; --resume goes on, --overwrite starts over")
            shutil.rmtree(self.folder)
        if self._files():
            try:
                earlier = json.loads(state.read_text())
                differing = [name for name, value in settings.items() if earlier.get(name) != value]
            except (ValueError, AttributeError):
                differing = ["settings.json"]
            if differing:
                raise InputError(
                    f"--resume: {self.folder} was made with other {', '.join(differing)}; give the same, or --overwrite"
                )
            return sum(1 for _ in self.packets())
        with atomic_file(state) as temporary:
            temporary.write_text(json.dumps(settings))
        return 0

    def add(self, encoder: Encoder, frames: Iterator[tuple[np.ndarray, int, int]]) -> int:
        """Encode and keep a segment; the number of its frames."""
        with atomic_file(self.folder / f"{len(self._files()):06}.mkv") as temporary:
            count = encoder.encode(frames, temporary)
        if not count:
            self._files()[-1].unlink()
        return count

    def packets(self) -> Iterator[Any]:
        """All packets in order, whose milliseconds are the film's unit; one is in memory at a time."""
        for path in self._files():
            with import_av().open(str(path)) as container:
                yield from (packet for packet in container.demux() if packet.size)

    def write_pictures(self, encoder: Encoder, container: str, path: Path) -> tuple[Fraction, Fraction]:
        """The pictures alone, from time 0 on; when they begin and end in the film, in seconds."""
        base = encoder.description.time_base
        times = [packet.pts for packet in self.packets()]
        origin, end = min(times), 0
        with (
            import_av().open(str(self._files()[0])) as segment,
            import_av().open(str(path), "w", format=container) as output,
        ):
            stream = output.add_stream_from_template(segment.streams.video[0], opaque=True)
            stream.time_base = base
            for packet, decoded in zip(self.packets(), decoding_times(times), strict=True):
                packet.pts, packet.dts = packet.pts - origin, decoded - origin
                packet.stream, packet.time_base = stream, base
                end = max(end, packet.pts + (packet.duration or 0))
                output.mux(packet)
        return origin * base, (origin + end) * base

    def remove(self) -> None:
        """When the film is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("??????.mkv"))


def decoding_times(times: Sequence[int]) -> Iterator[int]:
    """Times in decoding order -> when each is decoded: ascending, and never later than it is shown."""
    order = np.sort(np.array(times, np.int64))
    ranks = np.searchsorted(order, times)
    delay = int(max(0, (np.arange(len(times)) - ranks).max(initial=0)))
    step = int(order[1] - order[0]) if len(order) > 1 else 1
    for number in range(len(times)):
        early = delay - number
        yield int(order[0]) - early * step if early > 0 else int(order[number - delay])
