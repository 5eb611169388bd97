"""Films in segments that are encoded alone, kept beside the output, and joined at the end without another loss.

A segment holds the encoder's packets as they are, with their times: whatever ended a run, the next one goes on behind
the last whole segment, and what comes out is what an uninterrupted run gives.
"""

import io
import json
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pictures.films.reading import ARRAYS, FULL, LIMITED, RGB_FORMATS, Description, import_av, smooth
from pictures.formats import EVERYTHING, Format
from pictures.picture import Picture
from utils.errors import InputError
from utils.files import atomic_file

ENCODER_THREADS = 2  # fixed, as x264 and x265 give other bytes with other numbers
FASTEST = Fraction(240)  # frames a second, for the encoders' planning alone: SVT-AV1 refuses more; times are exact
HEADER = struct.Struct("<qqIB")  # of a packet: time, duration, bytes, whether it is a key frame


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
OPAQUE = Format("film", {8: _COLOURS, 16: _COLOURS}, EVERYTHING)
TRANSPARENT = Format("film", dict.fromkeys((8, 16), (*_COLOURS, "RGBA")), EVERYTHING)


@dataclass(frozen=True)
class FilmJob:
    """A film to read, where to write what is made of it, how, and which frames: `first` to before `last`."""

    source: Path
    target: Path
    codec: str
    quality: int | None
    first: int = 0
    last: int | None = None

    @property
    def form(self) -> Format:
        """What frames can be written as."""
        return TRANSPARENT if self.codec == "ffv1" else OPAQUE

    @property
    def container(self) -> str:
        """Of the target, as PyAV calls it."""
        return CONTAINERS[self.target.suffix.lower()]


@dataclass(frozen=True)
class EncodedPacket:
    """What an encoder made of a frame; `time` and `duration` in the film's unit."""

    time: int
    duration: int
    is_key: bool
    data: bytes


class Encoder:
    """Makes segments of a film whose frames are `size` (H, W) and have `channels` and `depth`."""

    def __init__(self, job: FilmJob, description: Description, picture: Picture):
        self.job, self.description = job, description
        self.codec = CODECS[job.codec]
        self.channels, self.depth = picture.channels, picture.pixel_format.depth
        self.pixel_format = self._pixel_format()
        height, width = picture.size
        form = import_av().VideoFormat(self.pixel_format)
        self.size = _multiple(height, 16 // form.chroma_height(16)), _multiple(width, 16 // form.chroma_width(16))
        if 0 in self.size:
            raise InputError(f"{job.target}: films are at least 2x2; choose a larger size")

    def add_stream(self, container: Any) -> Any:
        """A stream for the film's frames in an output container."""
        av = import_av()
        described, colours = self.description, self.description.colours
        try:
            stream = container.add_stream(
                self.codec.encoder, rate=min(described.rate, FASTEST), options=self.codec.options_for(self.job.quality)
            )
        except (av.codec.codec.UnknownCodecError, ValueError):
            raise InputError(
                f"--codec {self.job.codec} in {self.job.target}: this PyAV cannot write it; choose another of "
                f"{', '.join(available())}, or write a .mkv"
            ) from None
        stream.time_base = described.time_base
        context = stream.codec_context
        context.height, context.width = self.size
        context.pix_fmt = self.pixel_format
        context.time_base = described.time_base
        context.thread_count = ENCODER_THREADS
        context.colorspace, context.color_range = self._matrix(), self._span()
        context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        if described.pixel_shape:
            context.sample_aspect_ratio = described.pixel_shape
        return stream

    def encoding(self, frames: Iterator[tuple[np.ndarray, int, int]]) -> Iterator[EncodedPacket]:
        """Packets of a segment's frames: pixels, time, duration."""
        durations = {}
        with import_av().open(io.BytesIO(), "w", format="matroska") as container:
            stream = self.add_stream(container)
            for pixels, time, duration in frames:
                durations[time] = duration
                yield from self._packets(stream.encode(self._frame(pixels, time)), durations)
            yield from self._packets(stream.encode(None), durations)

    def _packets(self, packets: Sequence[Any], durations: Mapping[int, int]) -> Iterator[EncodedPacket]:
        for packet in packets:
            factor = packet.time_base / self.description.time_base
            time = round(packet.pts * factor)
            yield EncodedPacket(time, durations.get(time, 0), packet.is_keyframe, bytes(packet))

    def _frame(self, pixels: np.ndarray, time: int) -> Any:
        av = import_av()
        height, width = self.size
        array = np.ascontiguousarray(pixels[:height, :width])
        array = array[:, :, 0] if array.shape[2] == 1 else array
        frame = av.VideoFrame.from_ndarray(array, format=ARRAYS[self.channels, self.depth])
        frame.colorspace, frame.color_range = self._matrix(), FULL
        frame = frame.reformat(format=self.pixel_format, dst_color_range=self._span(), interpolation=smooth())
        frame.colorspace, frame.color_range = self._matrix(), self._span()
        frame.color_primaries, frame.color_trc = self.description.colours.primaries, self.description.colours.transfer
        frame.pts, frame.time_base = time, self.description.time_base
        return frame

    def _matrix(self) -> int:
        return 0 if self.pixel_format.startswith(RGB_FORMATS) else self.description.colours.matrix or 1

    def _span(self) -> int:
        if self.pixel_format.startswith(RGB_FORMATS):
            return FULL
        return LIMITED if self.description.pixel_format.startswith(RGB_FORMATS) else self.description.colours.span

    def _pixel_format(self) -> str:
        """The format of the source where the encoder takes it, else the nearest that it takes."""
        av = import_av()
        try:
            formats = [form.name for form in av.codec.Codec(self.codec.encoder, "w").video_formats]
        except av.codec.codec.UnknownCodecError:
            raise InputError(
                f"--codec {self.job.codec} is not in this PyAV; choose another of {', '.join(available())}"
            ) from None
        given, deep, alpha = self.description.pixel_format, self.depth > 8, self.channels == "RGBA"
        wanted = [given] if self.channels == self.description.channels or not alpha else []
        if self.channels == "L":
            wanted += ["gray16le", "gray10le"] if deep else ["gray"]
        if alpha:
            wanted += ["yuva444p16le"] if deep else ["bgra"]
        if given.startswith(RGB_FORMATS):
            wanted += ["gbrp16le"] if deep else ["bgr0", "gbrp"]
        wanted += [*(["yuv420p10le"] if deep else []), "yuv420p"]
        return next(name for name in wanted if name in formats and _has_alpha(name) == alpha)


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
    """The folder `.NAME.parts` beside a film that is being made: its settings, and what is encoded so far."""

    def __init__(self, target: Path):
        self.folder = target.with_name(f".{target.name}.parts")

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
            return self._count()
        with atomic_file(state) as temporary:
            temporary.write_text(json.dumps(settings))
        return 0

    def add(self, packets: Sequence[EncodedPacket]) -> None:
        """Keep a whole segment."""
        number = len(self._files())
        with atomic_file(self.folder / f"{number:06}.packets") as temporary, temporary.open("wb") as file:
            for packet in packets:
                file.write(HEADER.pack(packet.time, packet.duration, len(packet.data), packet.is_key))
                file.write(packet.data)

    def packets(self, with_data: bool = True) -> Iterator[EncodedPacket]:
        """All packets in order; one is in memory at a time."""
        for path in self._files():
            with path.open("rb") as file:
                while header := file.read(HEADER.size):
                    time, duration, length, is_key = HEADER.unpack(header)
                    data = file.read(length) if with_data else b""
                    if not with_data:
                        file.seek(length, 1)
                    yield EncodedPacket(time, duration, bool(is_key), data)

    def remove(self) -> None:
        """When the film is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.packets"))

    def _count(self) -> int:
        return sum(1 for _ in self.packets(with_data=False))


def decoding_times(times: Sequence[int]) -> Iterator[int]:
    """Times in decoding order -> when each is decoded: ascending, and never later than it is shown."""
    order = np.sort(np.array(times, np.int64))
    ranks = np.searchsorted(order, times)
    delay = int(max(0, (np.arange(len(times)) - ranks).max(initial=0)))
    step = int(order[1] - order[0]) if len(order) > 1 else 1
    for number in range(len(times)):
        early = delay - number
        yield int(order[0]) - early * step if early > 0 else int(order[number - delay])


def seconds(time: int | None, base: Fraction) -> float:
    """For the order of packets of streams with other units."""
    return float("-inf") if time is None else float(time * base)
