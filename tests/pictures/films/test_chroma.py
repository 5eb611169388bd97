"""Chroma stays where luma is, whatever the codec and its own location of chroma."""

import subprocess
from itertools import product

import numpy as np
import pytest

import demo
from tests.commands import call

av = pytest.importorskip("av", reason="films need PyAV")
ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="films need FFmpeg's binary")
pytestmark = pytest.mark.usefixtures("empty_folder")
SIDE, PERIOD = 128, 32
# Where chroma samples lie from the luma sample at their top left: right, down
LEFT, CENTRE = (0, 0.5), (0.5, 0.5)
MADE = {
    "mpeg2.ts": (("-c:v", "mpeg2video", "-q:v", "1"), LEFT),
    "h264.mkv": (("-c:v", "libx264", "-crf", "0"), LEFT),
    "jpeg.mov": (("-c:v", "mjpeg", "-q:v", "1", "-qmin", "1", "-pix_fmt", "yuvj420p"), CENTRE),
}


def wave(place: np.ndarray) -> np.ndarray:
    return 128 + 50 * np.sin(2 * np.pi * place / PERIOD)


def make(name: str) -> None:
    """A film of even luma, whose Cb is a wave along x and Cr along y, of the picture, wherever samples lie."""
    options, (right, down) = MADE[name]
    number = np.arange(SIDE // 2)
    cb = np.tile(wave(2 * number + right), (SIDE // 2, 1))
    cr = np.tile(wave(2 * number + down)[:, None], (1, SIDE // 2))
    planes = b"".join(np.rint(plane).astype(np.uint8).tobytes() for plane in (np.full((SIDE, SIDE), 128), cb, cr))
    layout = "yuvj420p" if "yuvj420p" in options else "yuv420p"
    command = [ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", layout, "-s", f"{SIDE}x{SIDE}"]
    subprocess.run([*command, "-r", "25", "-i", "-", *options, name], input=planes * 2, check=True)


def shift(samples: np.ndarray, places: np.ndarray, scale: float) -> float:
    """By how many output pixels a wave that is sampled at places of the output is further than it should be."""
    inner = slice(len(samples) // 8, -(len(samples) // 8))
    turning = np.exp(-2j * np.pi * (places[inner] + 0.5) / scale / PERIOD)
    expected = wave((places[inner] + 0.5) / scale - 0.5) - 128
    phases = [np.angle(((part - part.mean()) * turning).sum()) for part in (samples[inner], expected)]
    difference = (phases[1] - phases[0] + np.pi) % (2 * np.pi) - np.pi
    return difference / (2 * np.pi) * PERIOD * scale


QUICK = {("mpeg2.ts", "h264", 2), ("h264.mkv", "h265", 3), ("jpeg.mov", "ffv1", 1), ("jpeg.mov", "h264", 2)}
ALL = product(MADE, ("h264", "h265", "ffv1"), (1, 2, 3))


@pytest.mark.parametrize(
    ("name", "codec", "scale"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.thorough) for case in ALL],
)
def test_chroma_stays_with_luma(name, codec, scale) -> None:
    make(name)
    call(demo, "--input", name, "--model", "bicubic", "--scale", scale, "--codec", codec, "--output", "o.mkv",
         *(() if codec == "ffv1" else ("--quality", "1")))  # fmt: skip
    place = CENTRE if name == "jpeg.mov" else LEFT  # as input and output say
    for made, given in zip(shifts("o.mkv", place, scale), shifts(name, place, 1), strict=True):
        assert abs(made - scale * given) <= 0.05  # what the input's own encoder shifts is not ours


def shifts(path: str, place: tuple[float, float], scale: int) -> tuple[float, float]:
    """Of Cb to the right, and of Cr down, in pixels of the first frame."""
    with av.open(path) as container:
        frame = next(container.decode(video=0))
    cb, cr = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].astype(float)
        for plane in frame.planes[1:3]
    )
    number, (right, down) = 2 * np.arange(len(cb)), place
    return shift(cb[8:-8].mean(0), number + right, scale), shift(cr[:, 8:-8].mean(1), number + down, scale)
