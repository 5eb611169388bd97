"""What goes into demo.py comes out: kind, depth, transparency, profile and EXIF."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

import demo
from pictures.formats import format_of
from pictures.metadata import Metadata
from pictures.picture import Picture, PixelFormat
from pictures.reading import read_picture
from pictures.writing import write_picture
from tests.commands import call, mistake
from tests.pairs import paired
from tests.pictures.making import deep_png, described, noise, small_cmyk_profile

pytestmark = pytest.mark.usefixtures("empty_folder")

KINDS = {
    f"{name}{deep}": PixelFormat(channels, depth)
    for deep, depth in (("", 8), ("-16", 16), ("-float", 32), ("-exr", 32))
    for name, channels in (("grey", "L"), ("grey-alpha", "LA"), ("rgb", "RGB"), ("rgba", "RGBA"))
    if depth < 32 or name != "grey-alpha"
} | {
    "palette": PixelFormat("RGB", 8),
    "palette-alpha": PixelFormat("RGBA", 8),
    "1-bit": PixelFormat("L", 8),
    "cmyk": PixelFormat("CMYK", 8),
}
UPRIGHT = described().of_size((12, 10), (1, 1))


def make(name: str) -> Path:
    """A 12x10 picture of a kind, with all metadata that suits it."""
    metadata = UPRIGHT
    if name == "cmyk":
        metadata = replace(metadata, icc=small_cmyk_profile())
    elif KINDS[name].colours == "L":
        metadata = replace(metadata, icc=None)
    kind = KINDS[name]
    if name.startswith(("palette", "1-bit")):
        picture = Image.fromarray(noise(12, 10, 3)).quantize(9) if kind.colours == "RGB" else Image.new("1", (10, 12))
        if name == "1-bit":
            picture.paste(1, (2, 3, 8, 9))
        path = Path(f"{name}.png")
        extra = {"transparency": bytes((0, 128))} if kind.has_alpha else {}
        picture.save(path, **metadata.options("PNG"), **extra)
        return path
    path = Path(f"{name}.png" if kind.depth < 32 and name != "cmyk" else f"{name}.tif")
    if name.endswith("exr"):
        pytest.importorskip("OpenEXR")
        path, metadata = Path(f"{name}.exr"), Metadata(dpi=UPRIGHT.dpi)
    elif kind.depth == 32:
        pytest.importorskip("tifffile")
    pixels = noise(12, 10, len(kind.channels), dtype=np.uint8 if kind.depth == 8 else np.uint16)
    pixels = (pixels / 65535).astype(np.float32) if kind.depth == 32 else pixels
    write_picture(path, Picture(pixels, kind.channels, metadata))
    return path


LARGER, TURNED = ("--scale", 2.5), ("--rotate", 10, "--background", "white")


@pytest.mark.parametrize(
    ("options", "ending", "name"),
    paired([LARGER, TURNED], [".png", ".tif", ".webp", ".jpg", ".jp2", ".exr"], [*KINDS]),
)
def test_kinds(capsys, name, ending, options) -> None:
    if ending == ".exr":
        pytest.importorskip("OpenEXR")
    source = make(name)
    form = format_of(f"o{ending}")
    kind, losses = form.pixel_format_for(KINDS[name])
    call(demo, "--input", source, "--output", f"o{ending}", "--model", "bilinear", *options)
    said = capsys.readouterr().out
    assert all(loss in said for loss in losses)
    given, made = read_picture(source).metadata, read_picture(f"o{ending}")
    assert made.pixel_format == kind
    assert made.losses == ()
    assert made.size == ((30, 25) if options[0] == "--scale" else (14, 12))
    converted = name == "cmyk" and kind.channels == "RGB"
    assert (made.metadata.icc == given.icc) == (("icc" in form.keeps and not converted) or not given.icc)
    if "exif" in form.keeps and given.exif:
        exif = Image.Exif()
        exif.load(made.metadata.exif)
        camera = exif.get_ifd(ExifTags.IFD.Exif)
        assert exif[ExifTags.Base.Make] == "Maker"
        assert (camera[ExifTags.Base.ExifImageHeight], camera[ExifTags.Base.ExifImageWidth]) == made.size
    else:
        assert "EXIF" in said or not given.exif
    if "dpi" in form.keeps:
        assert made.metadata.dpi == pytest.approx([300 * (2.5 if options[0] == "--scale" else 1)] * 2, rel=1e-3)


@pytest.mark.parametrize("name", ["rgba", "grey-16", "rgb-16", "cmyk", "grey-float"])
def test_what_is_lost_is_an_error_when_strict(capsys, name) -> None:
    source = make(name)
    options = ("--input", source, "--model", "nearest", "--scale", 2, "--strict")
    line = mistake(capsys, demo, *options, "--output", "o.bmp")
    assert str(source) in line
    assert not Path("o.bmp").exists()
    call(demo, *options, "--output", "o.tif", "--strip-metadata")
    assert read_picture("o.tif").pixel_format == KINDS[name]
    assert not read_picture("o.tif").metadata.exif


@pytest.mark.parametrize(
    ("model", "channels", "ending"),
    paired(
        [("bicubic",), ("s",), ("lerf-l",), ("lerf-g",), ("lerf-g", "--backend", "torch")], [1, 3], [".png", ".tif"]
    ),
)
def test_a_ramp_of_16_bits_stays_smooth(model, channels, ending) -> None:
    """No step is one of 8 bits, 257 of 65535, although LUTs see 8 bits alone."""
    ramp = np.linspace(0, 65535, 3000).round().astype(np.uint16)[None, :, None].repeat(4, 0).repeat(channels, 2)
    write_picture(f"in{ending}", Picture(ramp, "L" if channels == 1 else "RGB"))
    call(demo, "--input", f"in{ending}", "--output", f"o{ending}", "--scale", 2, "--model", *model)
    made = read_picture(f"o{ending}").pixels
    assert made.dtype == np.uint16
    assert len(np.unique(made[4])) > 4000
    assert np.abs(np.diff(made[4].astype(int), axis=0)).max() < (130 if model[0].startswith("lerf") else 50)


def test_depth_as_asked_for(capsys) -> None:
    deep_png(Path("deep.png"), noise(6, 6, 3, dtype=np.uint16))
    Image.fromarray(noise(6, 6, 3)).save("plain.png")
    options = ("--model", "bicubic", "--scale", 3)
    call(demo, "--input", "deep.png", "--output", "8.png", "--depth", 8, *options)
    call(demo, "--input", "plain.png", "--output", "16.png", "--depth", 16, *options)
    assert "reduced" not in capsys.readouterr().out
    assert read_picture("8.png").pixel_format.depth == 8
    assert len(np.unique(read_picture("16.png").pixels)) > 600
    call(demo, "--input", "plain.png", "--output", "16.jpg", "--depth", 16, *options)
    assert "16 bits reduced to 8 bits" in capsys.readouterr().out
    strict = ("--input", "plain.png", "--output", "strict.jpg", "--depth", 16, "--strict", *options)
    assert "16 bits reduced to 8 bits; remove --strict" in mistake(capsys, demo, *strict)


def test_floats_keep_their_span(capsys) -> None:
    values = np.linspace(-5, 20, 35, dtype=np.float32).reshape(5, 7)
    Image.fromarray(values).save("in.tif")
    call(demo, "--input", "in.tif", "--output", "o.tif", "--model", "nearest", "--scale", 2)
    made = np.array(Image.open("o.tif"))
    assert np.allclose(made, values.repeat(2, 0).repeat(2, 1), atol=1e-4)
    line = mistake(capsys, demo, "--input", "in.tif", "--output", "o.png", "--model", "nearest", "--scale", 2)
    assert "floats from -5 to 20" in line


def test_orientation_is_applied_once() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    blocks = noise(3, 4, 3).repeat(8, 0).repeat(8, 1)
    Image.fromarray(blocks).save("in.png", exif=exif)
    call(demo, "--input", "in.png", "--output", "o.png", "--model", "nearest", "--scale", 2)
    with Image.open("o.png") as made:
        assert made.getexif()[ExifTags.Base.Orientation] == 1
        assert np.array_equal(made, np.rot90(blocks, -1).repeat(2, 0).repeat(2, 1))


def test_transparency_is_filled_where_the_format_has_none(capsys) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, 4:] = 10, 20, 200, 255
    Image.fromarray(pixels).save("in.png")
    for name, colour in {"white.bmp": (255, 255, 255), "red.bmp": (255, 0, 0)}.items():
        background = ("--background", "red") if name == "red.bmp" else ()
        call(demo, "--input", "in.png", "--output", name, "--model", "nearest", "--scale", 2, *background)
        made = np.array(Image.open(name))
        assert made[0, 0].tolist() == list(colour)
        assert made[0, 15].tolist() == [10, 20, 200]
        assert "transparency filled" in capsys.readouterr().out
    line = mistake(capsys, demo, "--input", "in.png", "--model", "nearest", "--scale", 2, "--background", "red")
    assert "--background" in line


def test_warps_of_grey_stay_grey() -> None:
    Image.fromarray(noise(8, 8)).save("in.png")
    for name, channels in {"o.png": "LA", "o.webp": "RGBA", "o.tif": "LA"}.items():
        call(demo, "--input", "in.png", "--output", name, "--model", "bicubic", "--rotate", 30)
        assert read_picture(name).pixel_format == PixelFormat(channels, 8)
    call(demo, "--input", "in.png", "--output", "turned.png", "--model", "bicubic", "--rotate", 90)
    assert read_picture("turned.png").pixel_format == PixelFormat("L", 8)


def test_inks_have_no_transparency(capsys) -> None:
    source = make("cmyk")
    line = mistake(capsys, demo, "--input", source, "--output", "o.tif", "--model", "bicubic", "--rotate", 30)
    assert "CMYK has no transparency" in line
    options = ("--input", source, "--model", "bicubic", "--rotate", 30)
    call(demo, *options, "--output", "o.tif", "--background", "white")
    assert read_picture("o.tif").pixels[0, 0].tolist() == [0, 0, 0, 0]
    call(demo, *options, "--output", "o.png")
    assert read_picture("o.png").pixel_format == PixelFormat("RGBA", 8)
