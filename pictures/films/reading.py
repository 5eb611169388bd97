"""Frames of films, one at a time, as pictures. PyAV decodes them; FFmpeg mends clocks that jump."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pictures.metadata import Metadata
from pictures.picture import Picture
from utils.errors import InputError
from utils.files import UNWRITABLE

HIGH = 720  # rows from which a film that does not say its colours is taken for BT.709, as players do
BT709, BT601, UNSPECIFIED = 1, 6, 2  # of FFmpeg's matrices, primaries and transfer functions
LIMITED, FULL = 1, 2  # of FFmpeg's ranges
ARRAYS = {("L", 8): "gray", ("L", 16): "gray16le", ("RGB", 8): "rgb24", ("RGB", 16): "rgb48le", ("RGBA", 8): "rgba",
          ("RGBA", 16): "rgba64le"}  # fmt: skip
RGB_FORMATS = ("gbr", "rgb", "bgr", "argb", "abgr", "0rgb", "0bgr", "pal")
FULL_RANGE_FORMATS = ("yuvj", "gray", *RGB_FORMATS)
JUMPING = ("mpegts", "mpeg")  # formats whose clocks start anywhere, wrap and jump
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # decoders that read the alpha of WebM; FFmpeg's own do not
CHROMA = re.compile(r"[,(] ?(left|center|topleft|top|bottomleft|bottom)[,)]")
# Side data of frames that is applied, or that describes the old encoding or the decoder alone
NO_LOSS = {
    "DISPLAYMATRIX", "MOTION_VECTORS", "SEI_UNREGISTERED", "VIDEO_ENC_PARAMS", "FILM_GRAIN_PARAMS", "PANSCAN",
    "GOP_TIMECODE", "SKIP_SAMPLES", "VIDEO_HINT",
}  # fmt: skip
PQ, HLG = 16, 18  # transfer functions of high dynamic range
# HDR10: red, green, blue and white as x and y, the darkest and the brightest in cd/m²; MaxCLL and MaxFALL in cd/m²
DISPLAY, LEVELS = "MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"


@dataclass(frozen=True)
class Colours:
    """Matrix, range, primaries and transfer function, by FFmpeg's numbers; where `chroma` lies, by FFmpeg's name."""

    matrix: int
    span: int
    primaries: int
    transfer: int
    chroma: str = "left"


@dataclass(frozen=True)
class Description:
    """What the frames of stream `index` have in common: FFmpeg's pixel format, channels and depth as pictures, colours;
    the unit of times, frames a second, the width of an upright pixel by its height, how many there are, if the file
    says so; the container's start in seconds, which comes off all times; the decoder, unless it is FFmpeg's own,
    whether clocks may jump; what HDR10 says, by DISPLAY and LEVELS; and what frames say and a new film does not."""

    index: int
    layout: str
    channels: str
    depth: int
    colours: Colours
    time_base: Fraction
    rate: Fraction
    pixel_shape: Fraction
    count: int | None
    start: Fraction
    decoder: str | None
    jumps: bool
    light: Mapping[str, tuple[float, ...]]
    losses: tuple[str, ...]


@dataclass(frozen=True)
class Frame:
    """A picture, upright, its time and how long it is shown (0 where that is unknown), in units of `time_base`."""

    picture: Picture
    time: int
    duration: int


def import_av() -> Any:
    """PyAV; InputError where it is not installed."""
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder prints errors alone
    try:
        import av
    except ImportError:
        raise InputError("films need two more packages: pip install av imageio-ffmpeg") from None
    av.logging.set_level(None)  # a thread that logs would wait for Python, which waits for it in close()
    return av


def ffmpeg(*arguments: str | Path, verbosity: str = "error") -> list[str]:
    """A command line of FFmpeg, which imageio-ffmpeg brings; paths are files whatever their names look like."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        raise InputError("films need one more package: pip install imageio-ffmpeg") from None
    given = [f"file:{argument}" if isinstance(argument, Path) else argument for argument in arguments]
    return [get_ffmpeg_exe(), "-nostdin", "-y", "-hide_banner", "-v", verbosity, *given]


LISTS = {"concat", "dash", "hls", "imf", "sdp"}  # FFmpeg's formats that name other files or addresses


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A film's container; InputError for a file that is none, or that is damaged.

    What is written in the block and meets a full disk is an OSError.
    """
    av = import_av()
    try:
        if path.suffix.lower() == ".webp":  # that PyAV's FFmpeg does not decode
            with _piped("-i", path, "-c:v", "ffv1", "-pix_fmt", "bgra", "-f", "matroska", "pipe:1") as container:
                yield container
            return
        options = {"format_whitelist": ",".join(av.formats_available - LISTS), "protocol_whitelist": "file,pipe"}
        with av.open(f"file:{path}", options=options) as container:
            yield container
    except (av.FFmpegError, UnicodeError) as error:
        if getattr(error, "errno", None) in UNWRITABLE:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as a film ({reason}); it is not a film, or damaged") from None


def everything(number: int) -> tuple[str, ...]:
    """Read all streams of an input: FFmpeg carries on a clock that jumps by the streams that it reads."""
    return ("-map", f"{number}", "-ignore_unknown", "-c", "copy", "-f", "null", "-")


def describe(path: Path) -> Description:
    """Read off the first frame; InputError as `opened`, and for a film without frames."""
    av = import_av()
    with opened(path) as container:
        covers = av.stream.Disposition.attached_pic
        stream = next((stream for stream in container.streams.video if not stream.disposition & covers), None)
        if stream is None:
            raise InputError(f"{path} has no moving pictures; it may be sound alone")
        alpha = {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode") == "1"
        decoder = WITH_ALPHA.get(stream.codec_context.name) if alpha else None
        frame = next(_decoded(container, stream.index, decoder), None)
        if frame is None:
            raise InputError(f"{path} has no frames; the file is broken or cut short")
        form = frame.format
        channels = "L" if form.name.startswith("gray") else "RGB"
        if any(component.is_alpha for component in form.components) or form.name.startswith("pal"):
            channels = "RGBA"
        shape = stream.sample_aspect_ratio or Fraction(1)
        colours = _colours(path, stream.index, frame)
        return Description(
            stream.index,
            form.name.replace("yuvj", "yuv"),
            channels,
            16 if max(component.bits for component in form.components) > 8 else 8,
            colours,
            stream.time_base,
            stream.average_rate or stream.guessed_rate or Fraction(25),
            1 / shape if _turns(frame) % 2 else shape,
            stream.frames or None,
            Fraction(container.start_time or 0, av.time_base),
            decoder,
            container.format.name in JUMPING,
            _light(frame),
            tuple(_losses(frame, colours)),
        )


def read_frames(path: Path, description: Description, first: int, last: int | None) -> Iterator[Frame]:
    """Frames from number `first` to before `last`; those before are decoded, too, and dropped.

    InputError as `opened`, and where frames change their size.
    """
    colours, size, graph, time = description.colours, None, None, None
    shape = description.pixel_shape.limit_denominator(1 << 15)
    # As of pictures, so that whatever changes the grid changes the shape of a pixel
    metadata = Metadata(dpi=(float(shape.denominator), float(shape.numerator)))
    with _clocked(path, description) as (container, index, start):
        unit = container.streams[index].time_base
        for number, frame in enumerate(_decoded(container, index, description.decoder)):
            if last is not None and number >= last:
                return
            if frame.pts is None:
                shown = number * max(1, round(1 / description.rate / description.time_base))
            else:
                shown = round((frame.pts * unit - start) / description.time_base)
            time = shown if time is None else max(shown, time + 1)
            if size not in (None, (frame.width, frame.height)):
                raise InputError(f"{path}: frames change their size at number {number}; cut the film there")
            size = frame.width, frame.height
            if number < first:
                continue
            if graph is None:
                options = f"in_color_matrix={colours.matrix}:in_range={colours.span}:in_chroma_loc={colours.chroma}"
                graph = converting(frame, ARRAYS[description.channels, description.depth], f"{options}:out_range=full")
            duration, turns = frame.duration * frame.time_base / description.time_base, _turns(frame)
            array = converted(graph, frame).to_ndarray()
            pixels = np.ascontiguousarray(np.rot90(array.reshape(*array.shape[:2], -1), turns))
            yield Frame(Picture(pixels, description.channels, metadata), time, round(duration))


def converting(frame: Any, layout: str, options: str) -> Any:
    """FFmpeg's scaler for frames as `frame` -> the pixel format `layout`, by `options` of its filter `scale`."""
    graph = import_av().filter.Graph()
    graph.link_nodes(
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)),
        graph.add("scale", f"flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp:{options}"),
        graph.add("format", f"pix_fmts={layout}"),
        graph.add("buffersink"),
    )
    graph.configure()
    return graph


def converted(graph: Any, frame: Any) -> Any:
    """A frame as `converting` says."""
    frame.colorspace, frame.color_range = UNSPECIFIED, 0  # the graph has its own
    graph.push(frame)
    return graph.pull()


@contextmanager
def _clocked(path: Path, description: Description) -> Iterator[tuple[Any, int, Fraction]]:
    """The container with the pictures, the number of their stream, and the time that comes off all times.

    FFmpeg carries clocks on that wrap or jump, by all streams together, as it does for the streams that are copied.
    """
    if not description.jumps:
        with opened(path) as container:
            yield container, description.index, description.start
        return
    pictures = ("-map", f"0:{description.index}", "-c", "copy", "-avoid_negative_ts", "disabled", "-f", "nut", "pipe:1")
    try:
        with _piped("-fflags", "+genpts", "-i", path, *pictures, *everything(0)) as container:
            yield container, 0, Fraction(0)
    except import_av().FFmpegError as error:
        raise InputError(f"{path} cannot be read as a film ({error.strerror}); the file is broken") from None


@contextmanager
def _piped(*arguments: str | Path) -> Iterator[Any]:
    """The container that FFmpeg writes to its standard output."""
    command = ffmpeg(*arguments, verbosity="quiet")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        try:
            with import_av().open(process.stdout) as container:
                yield container
            if process.stdout.read(1) == b"" and process.wait():  # read to its end, which came too early
                raise InputError(f"{arguments[arguments.index('-i') + 1]} cannot be read to its end by FFmpeg")
        finally:
            process.kill()


def _decoded(container: Any, index: int, decoder: str | None) -> Iterator[Any]:
    stream = container.streams[index]
    if decoder is None:
        stream.thread_type = "AUTO"
        yield from container.decode(stream)
        return
    context = import_av().CodecContext.create(decoder, "r")
    for packet in container.demux(stream):
        yield from context.decode(packet if packet.size else None)


def _turns(frame: Any) -> int:
    """Quarter turns, counter-clockwise, that put a frame upright."""
    return round((frame.rotation or 0) / 90) % 4


def _losses(frame: Any, colours: Colours) -> Iterator[str]:
    if frame.interlaced_frame:
        yield "interlaced, enlarged as if it were not; deinterlace it first (ffmpeg -vf bwdif)"
    if colours.transfer in (PQ, HLG):
        yield f"{'PQ' if colours.transfer == PQ else 'HLG'} values enlarged as they are stored"
    kept = {*NO_LOSS, *_light(frame)}
    for data in frame.side_data:
        name = data.type.name
        if name not in kept:
            yield f"without {name.lower().replace('_', ' ')}"
        matrix = np.frombuffer(data, np.int32) if name == "DISPLAYMATRIX" else None
        if matrix is not None and int(matrix[0]) * int(matrix[4]) - int(matrix[1]) * int(matrix[3]) < 0:
            yield "mirrored, which is left as it is stored"


def _light(frame: Any) -> dict[str, tuple[float, ...]]:
    """By FFmpeg's structures: ten fractions and two flags, whether points and luminances are set; two numbers."""
    found = {}
    for item in frame.side_data:
        if item.type.name == LEVELS:
            found[LEVELS] = tuple(np.frombuffer(item, np.int32)[:2].tolist())
        elif item.type.name == DISPLAY and all((numbers := np.frombuffer(item, np.int32))[20:]):
            found[DISPLAY] = tuple((numbers[0:20:2] / numbers[1:20:2]).tolist())
    return found


def _colours(path: Path, index: int, frame: Any) -> Colours:
    """What a frame says of its colours, made explicit: an enlarged film that says nothing would be taken for another
    standard, as players judge by the height. PyAV does not tell where chroma lies; FFmpeg's report does."""
    matrix, span = int(frame.colorspace), int(frame.color_range)
    if frame.format.name.startswith(RGB_FORMATS):
        matrix = 0
    elif matrix == UNSPECIFIED:
        matrix = BT709 if frame.height >= HIGH else BT601
    if span not in (LIMITED, FULL):
        span = FULL if frame.format.name.startswith(FULL_RANGE_FORMATS) else LIMITED
    said = subprocess.run(ffmpeg("-i", path, verbosity="verbose"), capture_output=True, text=True, errors="replace")
    line = next((line for line in said.stderr.splitlines() if f"Stream #0:{index}" in line), "")
    found = CHROMA.search(line)
    return Colours(matrix, span, int(frame.color_primaries), int(frame.color_trc), found[1] if found else "left")
