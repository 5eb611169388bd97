"""Small files after bug reports of other programs (cases/README.md): each comes out right, or says what is lost."""

import io
import re
import shutil
import sys
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import demo
from pictures.reading import read_picture
from tests.commands import call, mistake

pytestmark = pytest.mark.usefixtures("empty_folder")
CASES = Path(__file__).parent / "cases"
NEAREST = ("--model", "nearest")
TWICE = (*NEAREST, "--scale", "2")
FILMS = {"late_clock.ts", "clock_jumps_back.ts", "wide_pixels.mkv", "plain.mp4", "dispositions.mkv", "interlaced.mp4",
         "alpha.webm", "statistics_tags.mkv", "animation.webp"}  # fmt: skip
COLOURED = ("cicp_p3.png", "chrm_p3.png", "p3.avif")
PHONES = {"IMG_0001.HEIC": "pillow_heif", "IMG_0003.jxl": "pillow_jxl"}
ELSEWHERE = {
    "mild/": "tests/datasets", "realsr/": "tests/datasets", "translucent_flat.png": "tests/web",
    "grad16.tif": "tests/painting", "pixelart.png": "tests/painting",
}  # fmt: skip
HERE = {*FILMS, *COLOURED, *PHONES, "miniswhite_u16.tif", "assoc_f32.tif", "g4_trns.png", "crc_text.png", "no_eoi.jpg",
        "five_u1.tif"}  # fmt: skip


def test_every_row_is_walked() -> None:
    rows = [line.split("|")[1] for line in (CASES / "README.md").read_text().splitlines() if line.startswith("| ")][1:]
    named = {name for row in rows for name in re.findall(r"[\w.]+\.\w{2,4}\b|\w+/", row)} - {"straight_f32.tif"}
    assert named == HERE | {*ELSEWHERE}


def painted(name: str, *options) -> None:
    call(demo, "--input", CASES / name, "--overwrite", *options)


def streams(path: str):
    """Of each stream: type, tag, disposition, tags and the span of its times in seconds."""
    av = pytest.importorskip("av", reason="films need PyAV")
    pytest.importorskip("imageio_ffmpeg", reason="films need FFmpeg's binary")
    with av.open(path) as container:
        spans = {}
        for packet in container.demux():
            if packet.pts is not None:
                begin = float(packet.pts * packet.time_base)
                spans.setdefault(packet.stream_index, []).append(
                    (begin, begin + float(packet.duration * packet.time_base))
                )
        return [
            (stream.type, int(stream.disposition), dict(stream.metadata), spans[stream.index], stream)
            for stream in container.streams
        ]


def ends(spans) -> tuple[int, float, float]:
    return len(spans), min(begin for begin, _ in spans), max(end for _, end in spans)


@pytest.mark.parametrize(
    ("name", "output", "frames", "seconds"),
    [
        ("late_clock.ts", "o.mp4", 25, 1.02),
        ("clock_jumps_back.ts", "o.mkv", 50, 2.02),
        ("animation.webp", "o.mp4", 2, 1.0),
    ],
)
def test_clocks(name, output, frames, seconds) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="films need FFmpeg's binary")
    painted(name, *TWICE, "--output", output)
    found = [ends(spans) for _, _, _, spans, _ in streams(output)]
    assert found[0][0] == frames
    assert min(begin for _, begin, _ in found) == pytest.approx(0, abs=1e-3)
    assert max(end for _, _, end in found) == pytest.approx(seconds, abs=2e-3)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (("--size", "480x270"), (1, 1)),
        (("--scale", "2x3"), (64, 81)),
        (("--rotate", "90", "--background", "black"), (27, 32)),
    ],
)
def test_the_shape_of_pixels(options, shape) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="films need FFmpeg's binary")
    painted("wide_pixels.mkv", *NEAREST, *options, "--output", "o.mkv")
    assert streams("o.mkv")[0][4].sample_aspect_ratio == Fraction(*shape)


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_h265_has_the_tag_that_apple_plays(ending) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="films need FFmpeg's binary")
    painted("plain.mp4", *TWICE, "--codec", "h265", "--output", f"o.{ending}")
    assert streams(f"o.{ending}")[0][4].codec_context.codec_tag == "hvc1"


def test_dispositions_and_languages() -> None:
    pytest.importorskip("imageio_ffmpeg", reason="films need FFmpeg's binary")
    painted("dispositions.mkv", *TWICE, "--output", "o.mkv")
    for before, after in zip(streams(str(CASES / "dispositions.mkv")), streams("o.mkv"), strict=True):
        assert before[:2] == after[:2]
        for tag in ("language", "title"):
            assert before[2].get(tag) == after[2].get(tag)
        assert ends(before[3]) == pytest.approx(ends(after[3]), abs=1e-3)


def test_statistics_of_the_old_streams_go() -> None:
    pytest.importorskip("imageio_ffmpeg", reason="films need FFmpeg's binary")
    painted("statistics_tags.mkv", *TWICE, "--output", "o.mkv")
    assert set(streams("o.mkv")[0][2]) <= {"DURATION"}


def test_interlaced_films_are_said(capsys) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="films need FFmpeg's binary")
    options = ("--input", CASES / "interlaced.mp4", *TWICE, "--output", "o.mp4")
    assert "deinterlace" in mistake(capsys, demo, *options, "--strict")
    assert not list(Path().iterdir())
    call(demo, *options)
    assert "deinterlace" in capsys.readouterr().out


def test_vp9_with_alpha() -> None:
    av = pytest.importorskip("av", reason="films need PyAV")
    pytest.importorskip("imageio_ffmpeg", reason="films need FFmpeg's binary")
    painted("alpha.webm", *TWICE, "--codec", "ffv1", "--output", "o.mkv")
    with av.open("o.mkv") as film:
        alpha = next(film.decode(video=0)).to_ndarray(format="rgba")[..., 3]
    assert (alpha == 129).mean() > 0.9


@pytest.mark.parametrize("name", COLOURED)
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_colours_without_a_profile(name, ending) -> None:
    """Shown as Display P3 says: by lcms, against the plain formula."""
    painted(name, *NEAREST, "--scale", "1", "--strict", "--output", f"o.{ending}")
    with Image.open(f"o.{ending}") as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    patch = Image.new("RGB", (1, 1), (200, 120, 80))
    shown = ImageCms.profileToProfile(patch, profile, ImageCms.createProfile("sRGB")).getpixel((0, 0))
    light = ((np.array([200, 120, 80]) / 255 + 0.055) / 1.055) ** 2.4
    srgb = np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]]) @ light
    assert shown == pytest.approx(255 * (1.055 * srgb ** (1 / 2.4) - 0.055), abs=1.1)


def test_white_is_zero_in_16_bits() -> None:
    painted("miniswhite_u16.tif", *NEAREST, "--scale", "1", "--output", "o.png")
    assert read_picture("o.png").pixels.mean() / 65535 == pytest.approx(0.516, abs=1e-3)


def test_colours_multiplied_with_alpha() -> None:
    pytest.importorskip("tifffile", reason="float TIFF needs tifffile")
    made = []
    for name in ("assoc_f32.tif", "straight_f32.tif"):
        painted(name, *NEAREST, "--scale", "1", "--output", "o.tif")
        pixels = read_picture("o.tif").pixels
        made.append(pixels[..., :3] * pixels[..., 3:] + 1 - pixels[..., 3:])  # on white
    assert np.abs(made[0] - made[1]).max() < 1 / 255


def test_the_transparent_level_of_4_bits() -> None:
    painted("g4_trns.png", *NEAREST, "--scale", "1", "--output", "o.png")
    with Image.open(CASES / "g4_trns.png") as image:
        level = np.array(image)
    assert np.array_equal(read_picture("o.png").pixels[..., 1] == 0, level == 17)


@pytest.mark.parametrize(("name", "said"), [("crc_text.png", "chunk tEXt is damaged"), ("no_eoi.jpg", "end mark")])
def test_slight_damage(capsys, name, said) -> None:
    options = ("--input", CASES / name, *NEAREST, "--scale", "1", "--output", "o.png")
    assert said in mistake(capsys, demo, *options, "--strict")
    call(demo, *options)
    assert said in capsys.readouterr().out
    if name == "crc_text.png":
        assert np.array_equal(read_picture("o.png").pixels, read_picture(CASES / "base.png").pixels)
    else:
        assert read_picture("o.png").pixels.std() > 20


def test_bands_that_are_no_alpha(capsys) -> None:
    line = mistake(capsys, demo, "--input", CASES / "five_u1.tif", *TWICE, "--strict", "--output", "o.tif")
    assert "2 further bands" in line


@pytest.mark.parametrize("name", PHONES)
@pytest.mark.parametrize("installed", [True, False])
def test_what_phones_take_is_painted_or_named(capsys, monkeypatch, name, installed) -> None:
    if installed:
        pytest.importorskip(PHONES[name], reason="the plug-in is not installed")
    else:
        monkeypatch.setitem(sys.modules, PHONES[name], None)
    Path("in").mkdir()
    shutil.copy(CASES / name, f"in/{name}")
    shutil.copy(CASES / "no_eoi.jpg", "in/b.jpg")
    with nullcontext() if installed else pytest.raises(SystemExit, match="1"):
        call(demo, "--input", "in", *TWICE, "--output", "out")
    out = capsys.readouterr()
    assert Path("out/b.png").exists()
    assert Path(f"out/{name.partition('.')[0]}.png").exists() == installed
    assert installed or (name in out.err and "pip install pillow-" in out.err)


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "ü" * 120 + ".png", "10:30 [a].png", "-x.png", "%03d.png"])
def test_names(name) -> None:
    call(demo, f"--input={CASES / 'base.png'}", *NEAREST, "--scale", "1", f"--output=./[out]/{name}")
    assert np.array_equal(read_picture(f"[out]/{name}").pixels, read_picture(CASES / "base.png").pixels)
    call(demo, f"--input=./[out]/{name}", *NEAREST, "--scale", "1", "--output", "o.png")


@pytest.mark.parametrize("name", ["n" * 251 + ".mp4", "10:30.mp4", "%03d [b].mkv"])
def test_names_of_films(name) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="films need FFmpeg's binary")
    Path("in").mkdir()
    shutil.copy(CASES / "plain.mp4", f"in/{name}")
    call(demo, f"--input=in/{name}", *TWICE, f"--output=./{name}")
    assert ends(streams(f"./{name}")[0][3])[0] == 10
    assert sorted(path.name for path in Path().iterdir()) == sorted(["in", name])
