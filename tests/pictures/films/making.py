"""Small films with sound."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest


def patterns(count: int, height: int = 36, width: int = 64) -> list[np.ndarray]:
    """(h, w, 3) uint8 frames of a smooth pattern that moves."""
    y, x = np.mgrid[:height, :width]
    return [
        np.stack(
            [128 + 100 * np.sin(x / 9 + number / 4), 128 + 90 * np.cos(y / 7 - number / 5), 40 + x * 2 + 0 * y], axis=2
        )
        .clip(0, 255)
        .astype(np.uint8)
        for number in range(count)
    ]


def make_film(
    path: Path,
    frames: Sequence[np.ndarray],
    times: Sequence[int] | None = None,
    sound: bool = True,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    colours: tuple[int, int] = (1, 1),
    rotation: int = 0,
    rate: int = 30,
) -> Path:
    """A film at `rate` frames a second, or of `times` in units of 1/600 s, with a second of sound for every `rate`
    frames; `colours` are FFmpeg's numbers of matrix and range."""
    av = pytest.importorskip("av", reason="films need PyAV")
    base = Fraction(1, 600)
    times = times or [number * 600 // rate for number in range(len(frames))]
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        context.time_base = stream.time_base = base
        context.colorspace, context.color_range = colours
        if codec == "libx264":
            stream.options = {"crf": "4", "preset": "ultrafast"}
        if rotation:
            stream.set_display_rotation(rotation)
        tone = output.add_stream("aac", rate=16000, layout="mono") if sound else None
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.colorspace, frame.color_range = colours[0], 2
            frame = frame.reformat(format=pixel_format, dst_color_range=colours[1])
            frame.colorspace, frame.color_range = colours
            frame.pts, frame.time_base = time, base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if tone:
            length = 16000 * len(frames) // rate
            wave = (0.3 * np.sin(np.arange(length) * 0.17)).astype(np.float32)
            for start in range(0, length - 1023, 1024):
                block = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = 16000, start, Fraction(1, 16000)
                output.mux(tone.encode(block))
            output.mux(tone.encode(None))
    return path


def shown(path: Path) -> tuple[list[Fraction], list[np.ndarray]]:
    """Times in seconds and pixels (h, w, 3) of all frames."""
    import av

    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [frame.pts * frame.time_base for frame in frames], [frame.to_ndarray(format="rgb24") for frame in frames]


def packets(path: Path, kind: str) -> list[tuple[float, bytes]]:
    """Times in seconds, to the millisecond, and contents of a stream."""
    import av

    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [
            (round(float(packet.pts * packet.time_base), 3), bytes(packet))
            for packet in container.demux(stream)
            if packet.size
        ]
