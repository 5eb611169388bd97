"""Small files after bug reports of other programs (cases/README.md): each comes out right, or says what is lost."""

import io
import re
import shutil
import sys
from contextlib import nullcontext
from fractions import Fraction
from importlib.util import find_spec
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
    "pixelart.png": "tests/painting",
}  # fmt: skip
HERE = {*FILMS, *COLOURED, *PHONES, "miniswhite_u16.tif", "assoc_f32.tif", "g4_trns.png", "crc_text.png", "no_eoi.jpg",
        "five_u1.tif", "grad16.tif"}  # fmt: skip


def test_every_row_is_walked() -> None:
    rows = [line.split("|")[1] for line in (CASES / "README.md").read_text().splitlines() if line.startswith("| ")][1:]
    named = {name for row in rows for name in re.findall(r"[\w.]+\.\w{2,4}\b|\w+/", row)} - {"straight_f32.tif"}
    assert named == HERE | {*ELSEWHERE}


def painted(name: str, *options) -> None:
    call(demo, "--input", CASES / name, "--overwrite", *options)


NEEDS = "films need PyAV and FFmpeg's binary"
filming = pytest.mark.skipif(not (find_spec("av") and find_spec("imageio_ffmpeg")), reason=NEEDS)


def streams(path: str | Path) -> list[tuple]:
    """Of each stream: type, disposition, language and title; number, first and last time of its packets, in seconds;
    all its tags, and itself."""
    import av

    with av.open(str(path)) as container:
        times = {}
        for packet in container.demux():
            if packet.pts is not None:
                span = (float(time * packet.time_base) for time in (packet.pts, packet.pts + packet.duration))
                times.setdefault(packet.stream_index, []).extend(span)
        found = []
        for stream in container.streams:
            about = (stream.type, int(stream.disposition), *map(stream.metadata.get, ("language", "title")))
            spans = times[stream.index]
            found.append((about, (len(spans) // 2, min(spans), max(spans)), stream.metadata, stream))
        return found


def last(made: list[tuple]) -> tuple:
    """Frames, when the first of all streams begins and when the last ends, for `near`."""
    return made[0][1][0], min(span[1] for _, span, *_ in made), max(span[2] for _, span, *_ in made)


def near(*numbers: float):
    return pytest.approx(numbers, abs=2e-3)


def same(name: str):
    """Whether streams are those of a case: kinds, dispositions, languages, titles and times."""
    return lambda made: all(
        given[0] == new[0] and new[1] == near(*given[1]) for given, new in zip(streams(CASES / name), made, strict=True)
    )


@filming
@pytest.mark.parametrize(
    ("name", "options", "output", "is_right"),
    [
        ("late_clock.ts", (), "o.mp4", lambda made: last(made) == near(25, 0, 1.02)),
        ("clock_jumps_back.ts", (), "o.mkv", lambda made: last(made) == near(50, 0, 2.02)),
        ("animation.webp", (), "o.mp4", lambda made: last(made) == near(2, 0, 1)),
        ("wide_pixels.mkv", ("--size", "480x270"), "o.mkv", lambda made: shape(made) == 1),
        ("wide_pixels.mkv", ("--scale", "2x3"), "o.mkv", lambda made: shape(made) == Fraction(64, 81)),
        ("wide_pixels.mkv", ("--rotate", "90", "--background", "black"), "o.mkv",
         lambda made: shape(made) == Fraction(27, 32)),
        ("plain.mp4", ("--codec", "h265"), "o.mp4", lambda made: made[0][3].codec_context.codec_tag == "hvc1"),
        ("plain.mp4", ("--codec", "h265"), "o.mov", lambda made: made[0][3].codec_context.codec_tag == "hvc1"),
        ("dispositions.mkv", (), "o.mkv", same("dispositions.mkv")),
        ("statistics_tags.mkv", (), "o.mkv", lambda made: set(made[0][2]) <= {"DURATION"}),
    ],
)  # fmt: skip
def test_films(name, options, output, is_right) -> None:
    size = () if {"--size", "--scale", "--rotate"} & {*options} else ("--scale", "2")
    painted(name, *NEAREST, *size, *options, "--output", output)
    assert is_right(streams(output))


def shape(made: list[tuple]) -> Fraction:
    """Of a pixel."""
    return made[0][3].sample_aspect_ratio


@filming
def test_interlaced_films_are_said(capsys) -> None:
    options = ("--input", CASES / "interlaced.mp4", *TWICE, "--output", "o.mp4")
    assert "deinterlace" in mistake(capsys, demo, *options, "--strict")
    assert not list(Path().iterdir())
    call(demo, *options, "--frames", "0:2")
    assert "deinterlace" in capsys.readouterr().out


@filming
def test_vp9_with_alpha() -> None:
    import av

    painted("alpha.webm", *TWICE, "--codec", "ffv1", "--output", "o.mkv")
    with av.open("o.mkv") as film:
        alpha = next(film.decode(video=0)).to_ndarray(format="rgba")[..., 3]
    assert (alpha == 129).mean() > 0.9


@pytest.mark.parametrize(("name", "ending"), [*((name, "png") for name in COLOURED), ("p3.avif", "jpg")])
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


@pytest.mark.parametrize("model", ["s", "subpixel-s", "subpixel-m"])
@pytest.mark.parametrize("scale", ["2", "3.7"])
def test_a_ramp_of_16_bits_never_falls(model, scale) -> None:
    painted("grad16.tif", "--scale", scale, "--model", model, "--output", "o.tif")
    pixels = read_picture("o.tif").pixels
    assert pixels.dtype == np.uint16
    assert np.diff(pixels.astype(int), axis=1).min() >= 0
    with Image.open("o.tif") as image:
        assert 270 not in image.getexif(), "tifffile's description of the input's layout"


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


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "10:30 [ü].png", "-x%03d.png"])
def test_names(name) -> None:
    for source, target in ((CASES / "base.png", f"./[out]/{name}"), (f"./[out]/{name}", "o.png")):
        call(demo, f"--input={source}", *NEAREST, "--scale", "1", f"--output={target}")
    assert np.array_equal(read_picture("o.png").pixels, read_picture(CASES / "base.png").pixels)


@filming
@pytest.mark.parametrize("name", ["n" * 251 + ".mp4", "10:30 %03d [b].mkv"])
def test_names_of_films(name) -> None:
    Path("in").mkdir()
    shutil.copy(CASES / "plain.mp4", f"in/{name}")
    call(demo, f"--input=in/{name}", *TWICE, f"--output=./{name}")
    assert streams(f"./{name}")[0][1][0] == 10
    assert sorted(path.name for path in Path().iterdir()) == sorted(["in", name])
