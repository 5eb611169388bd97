"""Pictures from files: kinds, depth, orientation, broken ones, and folders."""

import base64
import io
import os
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from pictures import deep
from pictures.animations import read_animation
from pictures.picture import PixelFormat
from pictures.reading import list_pictures, read_picture, read_rgb
from tests.pictures.making import deep_png, noise, small_cmyk_profile
from utils.errors import InputError


@pytest.mark.parametrize(
    ("mode", "options", "kind"),
    [
        ("L", {}, "L"),
        ("LA", {}, "LA"),
        ("RGB", {}, "RGB"),
        ("RGBA", {}, "RGBA"),
        ("1", {}, "L"),
        ("P", {}, "RGB"),
        ("P", {"transparency": 3}, "RGBA"),
        ("L", {"transparency": 7}, "LA"),
        ("RGB", {"transparency": (1, 2, 3)}, "RGBA"),
    ],
)
def test_kinds_of_png(tmp_path, mode, options, kind) -> None:
    rgba = noise(9, 8, 4)
    rgba[0, 0, :3] = 1, 2, 3
    rgba[1, 0, :3] = 7
    picture = Image.fromarray(rgba).convert("RGB" if mode in ("P", "1", "L") else mode).convert(mode)
    if mode == "P" and options:
        options = {"transparency": picture.getpixel((0, 0))}
    picture.save(tmp_path / "p.png", **options)
    read = read_picture(tmp_path / "p.png")
    assert (read.pixel_format, read.losses) == (PixelFormat(kind, 8), ())
    with Image.open(tmp_path / "p.png") as file:
        expected = np.array(file.convert(kind)).reshape(read.pixels.shape)
    assert np.array_equal(read.pixels, expected)
    assert (kind[-1] != "A") or len(np.unique(read.pixels[..., -1])) > 1


def test_grey_palettes_are_grey(tmp_path) -> None:
    picture = Image.fromarray(noise(5, 4)).quantize(16)
    picture.save(tmp_path / "p.png")
    read = read_picture(tmp_path / "p.png")
    assert read.channels == "L"
    assert np.array_equal(read.pixels[:, :, 0], np.array(picture.convert("L")))


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("interlaced", [False, True])
def test_all_16_bits_of_png_are_read(tmp_path, channels, interlaced) -> None:
    pixels = noise(11, 13, channels, dtype=np.uint16)
    deep_png(tmp_path / "p.png", pixels, interlaced)
    for source in (tmp_path / "p.png", (tmp_path / "p.png").read_bytes()):
        read = read_picture(source)
        assert read.pixel_format == PixelFormat({2: "LA", 3: "RGB", 4: "RGBA"}[channels], 16)
        assert np.array_equal(read.pixels, pixels)


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib", "predictor": True}, {"byteorder": ">"}, {"tile": (16, 16)}]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_all_16_bits_of_tiff_are_read(tmp_path, channels, options) -> None:
    tifffile = pytest.importorskip("tifffile")
    pixels = noise(20, 33, channels, dtype=np.uint16)
    kind = {1: "minisblack", 3: "rgb", 4: "rgb"}[channels]
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    try:
        tifffile.imwrite(tmp_path / "p.tif", pixels.squeeze(), photometric=kind, **extra, **options)
    except Exception as error:
        pytest.skip(f"tifffile cannot write that here: {error}")
    read = read_picture(tmp_path / "p.tif")
    assert read.losses == ()
    assert np.array_equal(read.pixels, pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("planes", [False, True])
def test_tiffs_beyond_pillow_are_read_by_tifffile(tmp_path, dtype, planes) -> None:
    tifffile = pytest.importorskip("tifffile")
    pixels = (noise(6, 7, 3) / 256 if np.dtype(dtype).kind == "f" else noise(6, 7, 3)).astype(dtype)
    tifffile.imwrite(
        tmp_path / "p.tif",
        np.moveaxis(pixels, -1, 0) if planes else pixels,
        photometric="rgb",
        planarconfig="separate" if planes else "contig",
    )
    assert np.array_equal(read_picture(tmp_path / "p.tif").pixels, pixels)


def test_floats_beyond_the_unit_range_are_mapped_to_it(tmp_path) -> None:
    values = np.array([[-1, 0, 3]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "p.tiff")
    read = read_picture(tmp_path / "p.tiff")
    assert read.span == (-1, 3)
    assert read.pixels.ravel().tolist() == [0, 0.25, 1]
    Image.fromarray(values.clip(0, 0.5)).save(tmp_path / "p.tiff")
    assert read_picture(tmp_path / "p.tiff").span == (0, 1)
    Image.fromarray(values * np.nan).save(tmp_path / "p.tiff")
    with pytest.raises(InputError, match="no numbers"):
        read_picture(tmp_path / "p.tiff")


def test_grey_of_16_bits(tmp_path) -> None:
    Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16)).save(tmp_path / "p.png")
    assert read_picture(tmp_path / "p.png").pixels.ravel().tolist() == [0, 257, 65535]
    assert read_rgb(tmp_path / "p.png")[0].tolist() == [[0] * 3, [1] * 3, [255] * 3]
    Image.fromarray(np.array([[0, 70000]], dtype=np.int32)).save(tmp_path / "p.tiff")
    with pytest.raises(InputError, match="beyond 0 to 65535"):
        read_picture(tmp_path / "p.tiff")


# 64x64 of one grey in 10 bits, by libavformat and SVT-AV1
AVIF_OF_10_BITS = (
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAAD5bWV0YQAAAAAAAAAvaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAFBpY3R1cmVI"
    "YW5kbGVyAAAAAA5waXRtAAAAAAABAAAAHmlsb2MAAAAARAAAAQABAAAAAQAAASEAAAAdAAAAKGlpbmYAAAAAAAEAAAAaaW5mZQIAAAAAAQAAYXYw"
    "MUNvbG9yAAAAAGppcHJwAAAAS2lwY28AAAAUaXNwZQAAAAAAAABAAAAAQAAAABBwaXhpAAAAAAMKCgoAAAAMYXYxQ4EATAAAAAATY29scm5jbHgA"
    "AgACAAIAAAAAF2lwbWEAAAAAAAAAAQABBAECgwQAAAAlbWRhdAoKAAAAAq//jV84CDIPEAC6AgssUUEAAAgAlddI"
)


def test_avif_of_more_than_8_bits_is_said_to_be_reduced(tmp_path) -> None:
    read = read_picture(base64.b64decode(AVIF_OF_10_BITS))
    assert read.pixels.shape == (64, 64, 3)
    assert read.losses == ("10 bits reduced to 8",)
    Image.new("RGB", (16, 16), (9, 200, 3)).save(tmp_path / "p.avif")
    assert read_picture(tmp_path / "p.avif").losses == ()


def test_what_pillow_reduces_is_said(tmp_path) -> None:
    (tmp_path / "p.ppm").write_bytes(b"P3 1 1 65535\n" + b"4660 " * 3)
    read = read_picture(tmp_path / "p.ppm")
    assert read.pixels.tolist() == [[[0x12, 0x12, 0x12]]]
    assert read.losses == ("16 bits reduced to 8",)
    # 16 bits for a whole pixel, 5-6-5, are no deep colour
    header = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 3, 4, 0, 0, 0, 0) + struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    offset = 14 + len(header)
    (tmp_path / "p.bmp").write_bytes(struct.pack("<2sIII", b"BM", offset + 4, 0, offset) + header + b"\xff\xff\0\0")
    assert read_picture(tmp_path / "p.bmp").losses == ()


def test_ppm_of_16_bits(tmp_path) -> None:
    path = tmp_path / "p.ppm"
    path.write_bytes(b"P6 # of a camera\n2 1\n# twelve bits\n4095\n" + b"\x0f\xff\0\0\x08\0" + b"\0\x01" * 3)
    read = read_picture(path)
    assert (read.pixel_format, read.losses) == (PixelFormat("RGB", 16), ())
    assert read.pixels.tolist() == [[[65535, 0, 32776], [16, 16, 16]]]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="cut short"):
        read_picture(path)


def test_jpeg_2000_of_16_bits_a_channel_is_reduced(tmp_path) -> None:
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / "p.jp2")
    content = bytearray((tmp_path / "p.jp2").read_bytes())
    depths = content.index(b"\xff\x4f\xff\x51") + 42
    for bits in (8, 12, 16):
        content[depths] = bits - 1
        with Image.open(io.BytesIO(content)) as file:
            assert deep.bits_of(file, bytes(content)) == bits


def test_transparent_colour_of_16_bits(tmp_path) -> None:
    pixels = np.array([[[0x1234, 5, 6], [0x1200, 5, 6]]], dtype=np.uint16)
    deep_png(tmp_path / "p.png", pixels, extra={b"tRNS": pixels[0, 0].astype(">u2").tobytes()})
    read = read_picture(tmp_path / "p.png")
    assert read.pixel_format == PixelFormat("RGBA", 16)
    assert read.pixels[0, :, 3].tolist() == [0, 65535]


def test_cmyk_stays_and_is_shown_by_its_profile(tmp_path) -> None:
    pixels = noise(4, 4, 4)
    pixels[0, 0] = 255, 0, 0, 0
    picture = Image.frombytes("CMYK", (4, 4), pixels.tobytes())
    picture.save(tmp_path / "plain.tif")
    picture.save(tmp_path / "profile.tif", icc_profile=small_cmyk_profile())
    for name in ("plain", "profile"):
        read = read_picture(tmp_path / f"{name}.tif")
        assert read.channels == "CMYK"
        assert np.array_equal(read.pixels, pixels)
    assert read_rgb(tmp_path / "plain.tif")[0, 0].tolist() == [0, 255, 255]
    red, green, blue = read_rgb(tmp_path / "profile.tif")[0, 0].tolist()
    assert red > 200  # the profile's cyan ink is red
    assert max(green, blue) < 120


def test_lab_is_converted(tmp_path) -> None:
    lab = ImageCms.profileToProfile(
        Image.new("RGB", (4, 4), (200, 60, 60)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    lab.save(tmp_path / "p.tif")
    read = read_picture(tmp_path / "p.tif")
    assert abs(read.pixels[0, 0].astype(int) - (200, 60, 60)).max() <= 6
    assert read.losses == ("Lab converted to RGB",)


@pytest.mark.parametrize("ending", ["gif", "tiff", "png", "webp"])
def test_first_of_several_frames_is_read_and_said(tmp_path, ending) -> None:
    path = tmp_path / f"p.{ending}"
    first, *others = (Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue"))
    first.save(path, save_all=True, append_images=others, lossless=True)
    read = read_picture(path)
    assert read.pixels[0, 0, :3].tolist() == [255, 0, 0]
    assert read.losses == ("only the first of its frames used",)
    first.save(path, lossless=True)
    assert not read_picture(path).losses


def test_damage_to_later_frames_does_not_matter(tmp_path) -> None:
    first, second = (Image.fromarray(noise(20, 20, 3)) for _ in range(2))
    first.save(tmp_path / "one.gif")
    first.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "p.gif", save_all=True, append_images=[second])
    whole = (tmp_path / "p.gif").read_bytes()
    expected = read_rgb(tmp_path / "p.gif")
    (tmp_path / "p.gif").write_bytes(whole[: whole.rindex(b"\x2c\0\0\0\0") + 6])  # within its descriptor
    assert np.array_equal(read_rgb(tmp_path / "p.gif"), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_orientation_of_photos_is_honoured(tmp_path, orientation, ending) -> None:
    blocks = noise(3, 2, 3).repeat(16, 0).repeat(16, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(blocks).save(tmp_path / f"p.{ending}", exif=exif, lossless=True)
    turn = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270"}
    turn |= {7: "TRANSVERSE", 8: "ROTATE_90"}
    with Image.open(tmp_path / f"p.{ending}") as file:
        expected = np.array(file if ending != "tif" else Image.fromarray(blocks))
    if orientation > 1:
        expected = np.array(Image.fromarray(expected).transpose(Image.Transpose[turn[orientation]]))
    assert np.array_equal(read_picture(tmp_path / f"p.{ending}").pixels, expected)


def test_damaged_exif_does_not_matter(tmp_path) -> None:
    Image.fromarray(noise(4, 5, 3)).save(tmp_path / "p.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\0\0")
    assert read_picture(tmp_path / "p.png").size == (4, 5)


def test_broken_pictures_are_named(tmp_path) -> None:
    Image.new("RGB", (64, 64), (1, 2, 3)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    (tmp_path / "text.png").write_text("not a picture")
    for name in ("cut.png", "text.png", "missing.png"):
        with pytest.raises(InputError, match=name) as caught:
            read_picture(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_pictures_are_bounded_by_memory_not_by_pillow(tmp_path, monkeypatch, recwarn) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    Image.new("L", (1500, 1400)).save(tmp_path / "large.png")
    assert read_picture(tmp_path / "large.png").size == (1400, 1500)
    assert read_animation(tmp_path / "large.png") is None
    assert Image.MAX_IMAGE_PIXELS == 1_000_000
    assert not recwarn.list
    monkeypatch.setattr("utils.system.available_memory", lambda: 1 << 20)
    with pytest.raises(InputError, match=r"large\.png: reading 1500x1400 pixels needs about .* 1\.0 MiB are free"):
        read_picture(tmp_path / "large.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_refused_at_once(tmp_path) -> None:
    os.mkfifo(tmp_path / "p.png")
    with pytest.raises(InputError, match="pipe or a device"):
        read_picture(tmp_path / "p.png")
    with pytest.raises(InputError, match="no pictures"):
        list_pictures(tmp_path)


def test_folders(tmp_path, pictures) -> None:
    for name in ("notes.txt", "readme.pdf", "figure.eps", "weights.h5", "._a.png", ".hidden.png"):
        (pictures / name).write_text("no picture")
    (pictures / "folder.png").mkdir()
    assert [p.name for p in list_pictures(pictures)] == ["a.png", "b.png", "c.png"]
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nothere", tmp_path / "empty"):
        with pytest.raises(InputError, match=str(folder)):
            list_pictures(folder)
    assert [p.name for p in list_pictures(tmp_path)] == ["a.png", "b.png", "c.png"]  # below


def test_every_damaged_byte_of_a_png_is_noticed(tmp_path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    for place in range(content.index(b"IDAT"), content.index(b"IEND") - 4):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError, match=r"a\.png"):
            read_picture(path)
