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
    BT709,
    DISPLAY,
    FULL,
    LEVELS,
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
from utils.files import atomic_file, read_json

ENCODER_THREADS = 2  # fixed, as x264 and x265 give other bytes with other numbers
FASTEST = Fraction(240)  # frames a second, for the encoders' planning alone: SVT-AV1 refuses more; times are exact
TICK = Fraction(1, 1000)  # of Matroska
EARLY = 1 << 40  # ticks before which all frames of a segment are decoded
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
    options: dict[str, str]

    def options_for(self, quality: int | None) -> dict[str, str]:
        """As options of the encoder."""
        chosen = self.quality if quality is None else quality
        return self.options | ({} if chosen is None else {"crf": str(chosen)})


CODECS = {
    "h264": Codec("libx264", 18, 51, {"preset": "medium"}),
    "h265": Codec("libx265", 20, 51, {"preset": "medium", "x265-params": "log-level=error"}),
    "av1": Codec("libsvtav1", 24, 63, {"preset": "8"}),
    "ffv1": Codec("ffv1", None, 0, {"level": "3", "slicecrc": "1"}),
}
# Where encoders take what HDR10 says: the option, its parts' names, their units of chromaticities and of cd/m²
LIGHT = {
    "h265": ("x265-params", "master-display", "max-cll", 50000, 10000),
    "av1": ("svtav1-params", "mastering-display", "content-light", 1, 1),
}
# Pixel formats for channels, or for halved chroma, and depths, where encoders do not take the source's
NEAREST = {
    ("L", 8): ("gray",), ("L", 16): ("gray16le", "gray10le"), ("RGB", 8): ("bgr0", "gbrp"), ("RGB", 16): ("gbrp16le",),
    ("YUV", 8): ("yuv420p",), ("YUV", 16): ("yuv420p10le", "yuv420p"),
}  # fmt: skip
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
    """Makes segments of a film whose frames are as `picture`, which has the shape of a pixel as its resolution.

    InputError for a codec that PyAV lacks, and for a size below a pixel of chroma.
    """

    def __init__(self, job: FilmJob, description: Description, picture: Picture):
        if job.codec not in available():
            raise InputError(f"--codec {job.codec} is not in this PyAV; choose another of {', '.join(available())}")
        self.job, self.description, self.codec = job, description, CODECS[job.codec]
        self.channels, self.depth = picture.channels, picture.pixel_format.depth
        self.layout = self._layout()
        made, given = map(import_av().VideoFormat, (self.layout, description.layout))
        rows, columns = 16 // made.chroma_height(16), 16 // made.chroma_width(16)
        self.size = picture.size[0] // rows * rows, picture.size[1] // columns * columns
        if 0 in self.size:
            raise InputError(f"{job.target}: films are at least 2x2; choose a larger size")
        across, down = picture.metadata.dpi or (1.0, 1.0)
        self.pixel_shape = Fraction(down / across).limit_denominator(LARGEST_SHAPE)
        self.matrix, self.span = description.colours.matrix or BT709, description.colours.span
        given_rgb = description.layout.startswith(RGB_FORMATS)
        if self.layout.startswith(RGB_FORMATS):
            self.matrix, self.span = 0, FULL
        elif given_rgb:
            self.span = LIMITED
        is_less = made.chroma_width(64) < given.chroma_width(64) or made.chroma_height(64) < given.chroma_height(64)
        halved = is_less and self.channels != "L" and not given_rgb
        self.losses = ["chroma halved; --keep-depth keeps it"] * halved
        if job.codec not in LIGHT:
            self.losses += [f"without {name.lower().replace('_', ' ')}" for name in description.light]
        self._graph: Any = None

    def _layout(self) -> str:
        """The pixel format of the source where the encoder takes it, else the nearest that it takes."""
        if self.job.form is PLAIN:
            return "yuv420p"
        if self.channels == "RGBA":
            return "rgba64le" if self.depth > 8 else "bgra"
        given, is_rgb = self.description.layout, self.description.layout.startswith(RGB_FORMATS)
        kind = "L" if self.channels == "L" else "RGB" if is_rgb else "YUV"
        wanted = [given] if self.channels == self.description.channels else []
        wanted += [*NEAREST[kind, self.depth], *NEAREST["YUV", self.depth]]
        formats = [form.name for form in import_av().codec.Codec(self.codec.encoder, "w").video_formats]
        return next(name for name in wanted if name in formats)

    def add_stream(self, container: Any) -> Any:
        """A stream for the film's frames in an output container."""
        described, colours = self.description, self.description.colours
        options = {"chroma_sample_location": colours.chroma, **self.codec.options_for(self.job.quality)}
        options |= self._light()
        try:
            stream = container.add_stream(self.codec.encoder, rate=min(described.rate, FASTEST), options=options)
        except ValueError:
            raise InputError(f"{self.job.target} cannot hold --codec {self.job.codec}; write a .mkv") from None
        context = stream.codec_context
        context.height, context.width = self.size
        context.pix_fmt, context.thread_count = self.layout, ENCODER_THREADS
        context.time_base = stream.time_base = described.time_base
        context.sample_aspect_ratio = self.pixel_shape
        self._colour(context)
        return stream

    def _light(self) -> dict[str, str]:
        """What HDR10 says, as an option of the encoder."""
        light = self.description.light
        if self.job.codec not in LIGHT or not light:
            return {}
        option, display, levels, chromaticity, luminance = LIGHT[self.job.codec]
        parts = [self.codec.options[option]] if option in self.codec.options else []
        if DISPLAY in light:
            places = np.multiply(light[DISPLAY][:8], chromaticity).reshape(4, 2)
            red, green, blue, white = (f"({x:.9g},{y:.9g})" for x, y in places)
            dark, bright = (f"{value * luminance:.9g}" for value in light[DISPLAY][8:])
            parts.append(f"{display}=G{green}B{blue}R{red}WP{white}L({bright},{dark})")
        if LEVELS in light:
            parts.append(f"{levels}={light[LEVELS][0]},{light[LEVELS][1]}")
        return {option: ":".join(parts)}

    def _colour(self, what: Any) -> None:
        """A frame or an encoder's context says its colours."""
        colours = self.description.colours
        what.colorspace, what.color_range = self.matrix, self.span
        what.color_primaries, what.color_trc = colours.primaries, colours.transfer

    def encode(self, frames: Iterator[tuple[np.ndarray, int, int]], path: Path) -> int:
        """Write a segment of frames, pixels, time, duration; says how many there were."""
        durations: dict[int, int] = {}
        with import_av().open(str(path), "w", format="matroska") as container:
            stream = self.add_stream(container)
            for number, packet in enumerate(self._packets(stream, frames, durations)):
                time = round(packet.pts * packet.time_base / self.description.time_base)
                # Matroska holds no decoding times, but FFmpeg wants some that ascend, which x265 does not always give
                packet.pts, packet.dts = time, number - EARLY
                packet.duration, packet.time_base = durations.get(time, 0), TICK
                container.mux(packet)
        return len(durations)

    def _packets(
        self, stream: Any, frames: Iterator[tuple[np.ndarray, int, int]], durations: dict[int, int]
    ) -> Iterator[Any]:
        """Frames, encoded; their durations by their times go into `durations`."""
        for pixels, time, duration in frames:
            durations[time] = duration
            yield from stream.encode(self._frame(pixels, time))
        if durations:
            yield from stream.encode(None)

    def _frame(self, pixels: np.ndarray, time: int) -> Any:
        height, width = self.size
        array = np.ascontiguousarray(pixels[:height, :width])
        array = array[:, :, 0] if array.shape[2] == 1 else array
        frame = import_av().VideoFrame.from_ndarray(array, format=ARRAYS[self.channels, self.depth])
        if self._graph is None:
            options = f"out_color_matrix={self.matrix}:out_range={self.span}:in_range=full"
            chroma = self.description.colours.chroma
            self._graph = converting(frame, self.layout, f"{options}:out_chroma_loc={chroma}")
        frame = converted(self._graph, frame)
        self._colour(frame)
        frame.pts, frame.time_base = time, self.description.time_base
        return frame


def available() -> list[str]:
    """`--codec` names whose encoder this PyAV has."""
    return [name for name, codec in CODECS.items() if codec.encoder in import_av().codecs_available]


class Segments:
    """The folder `.NAME.parts` beside a film that is being made, of a short name: its settings, and what is done."""

    def __init__(self, target: Path):
        name = target.name if len(target.name) < 60 else hashlib.sha256(target.name.encode()).hexdigest()[:16]
        self.folder = target.with_name(f".{name}.parts")

    def start(self, settings: Mapping[str, Any], resume: bool, overwrite: bool) -> int:
        """How many frames are done, for a film that is made with `settings`. InputError where others are there."""
        state = self.folder / "settings.json"
        if self._files() and resume:
            earlier = read_json(state, "settings")
            differing = [name for name, value in settings.items() if earlier.get(name) != value]
            if differing:
                raise InputError(
                    f"--resume: {self.folder} was made with other {', '.join(differing)}; give the same, or --overwrite"
                )
            return sum(1 for _ in self.packets())
        if self._files() and not overwrite:
            raise InputError(f"{self.folder} holds an unfinished film; --resume goes on, --overwrite starts over")
        self.remove()
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
