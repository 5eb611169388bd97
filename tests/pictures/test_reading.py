"""Pictures from files: kinds, depth, orientation, broken ones, and folders."""

import io
import os
import struct
from itertools import product

import numpy as np
import pytest
from PIL import Image, ImageCms

from pictures import deep
from pictures.animations import read_animation
from pictures.picture import PixelFormat
from pictures.reading import is_picture, list_pictures, read_picture, read_rgb
from tests.pictures.making import deep_png, noise, small_cmyk_profile
from utils.errors import InputError

ORIENTED = [*product(range(1, 9), ["png"]), (6, "jpg"), (6, "tif"), (6, "webp")]


@pytest.mark.parametrize(
    ("mode", "options", "kind"),
    [
        *((mode, {}, mode) for mode in ("L", "LA", "RGB", "RGBA")), ("1", {}, "L"), ("P", {}, "RGB"),
        ("P", {"transparency": 0}, "RGBA"), ("L", {"transparency": 7}, "LA"),
        ("RGB", {"transparency": (7,) * 3}, "RGBA"),
    ],
)  # fmt: skip
def test_kinds_of_png(tmp_path, mode, options, kind) -> None:
    rgba = noise(9, 8, 4)
    rgba[1, 0, :3] = 7
    picture = Image.fromarray(rgba).convert("RGB" if mode in ("P", "1", "L") else mode).convert(mode)
    if mode == "P" and options:
        options = {"transparency": picture.getpixel((0, 0))}
    picture.save(tmp_path / "p.png", **options)
    read = read_picture(tmp_path / "p.png")
    assert (read.pixel_format, read.losses) == (PixelFormat(kind, 8), ())
    with Image.open(tmp_path / "p.png") as file:
        assert np.array_equal(read.pixels, np.array(file.convert(kind)).reshape(read.pixels.shape))
    assert (kind[-1] != "A") or len(np.unique(read.pixels[..., -1])) > 1


def test_grey_palettes_are_grey(tmp_path) -> None:
    picture = Image.fromarray(noise(5, 4)).quantize(16)
    picture.save(tmp_path / "p.png")
    assert np.array_equal(read_picture(tmp_path / "p.png").pixels, np.array(picture.convert("L"))[:, :, None])


@pytest.mark.parametrize("channels", ["LA", "RGB", "RGBA"])
@pytest.mark.parametrize("interlaced", [False, True])
def test_all_16_bits_of_png_are_read(tmp_path, channels, interlaced) -> None:
    pixels = noise(11, 13, len(channels), dtype=np.uint16)
    deep_png(tmp_path / "p.png", pixels, interlaced)
    for source in (tmp_path / "p.png", (tmp_path / "p.png").read_bytes()):
        read = read_picture(source)
        assert read.pixel_format == PixelFormat(channels, 16)
        assert np.array_equal(read.pixels, pixels)


@pytest.mark.parametrize(
    ("dtype", "channels", "options"),
    [
        (np.uint16, 1, {}), (np.uint16, 3, {"byteorder": ">"}), (np.uint16, 4, {"tile": (16, 16)}),
        (np.uint16, 4, {"compression": "zlib"}), (np.float32, 4, {"byteorder": ">"}),
        *((kind, 3, {"planarconfig": "separate"}) for kind in (np.uint8, np.uint16, "f2", "f4", np.float64)),
    ],
)  # fmt: skip
def test_tiffs(tmp_path, dtype, channels, options) -> None:
    tifffile = pytest.importorskip("tifffile")
    is_float = np.dtype(dtype).kind == "f"
    pixels = (noise(20, 33, channels) / 256).astype(dtype) if is_float else noise(20, 33, channels, dtype=dtype)
    kind, extra = "minisblack" if channels == 1 else "rgb", {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    written = np.moveaxis(pixels, -1, 0) if "planarconfig" in options else pixels
    tifffile.imwrite(tmp_path / "p.tif", written.squeeze(), photometric=kind, **extra, **options)
    read = read_picture(tmp_path / "p.tif")
    assert read.losses == (("floats of 64 bits reduced to 32",) if dtype == np.float64 else ())
    assert np.array_equal(read.pixels, pixels)


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


def test_what_pillow_reduces_is_said(tmp_path) -> None:
    read = read_picture(b"P3 1 1 65535\n" + b"4660 " * 3)
    assert (read.pixels.tolist(), read.losses) == ([[[0x12, 0x12, 0x12]]], ("16 bits reduced to 8",))
    # 16 bits for a whole pixel, 5-6-5, are no deep colour
    header = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 3, 4, 0, 0, 0, 0) + struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    offset = 14 + len(header)
    assert not read_picture(struct.pack("<2sIII", b"BM", offset + 4, 0, offset) + header + b"\xff\xff\0\0").losses


@pytest.mark.parametrize(
    ("ending", "mark", "offset", "bits"),
    [
        ("jp2", b"\xff\x4f\xff\x51", 42, {7: 8, 11: 12, 15: 16}),
        ("avif", b"av1C", 6, {0: 8, 0x40: 10, 0x60: 12}),
    ],
)
def test_depths_that_pillow_does_not_tell(ending, mark, offset, bits) -> None:
    content = io.BytesIO()
    Image.fromarray(noise(20, 30, 3)).save(content, {"jp2": "JPEG2000"}.get(ending, ending))
    changed = bytearray(content.getvalue())
    for value, depth in bits.items():
        changed[changed.index(mark) + offset] = value
        with Image.open(content) as file:
            assert deep.bits_of(file, bytes(changed)) == depth


def test_jpeg_2000_of_reduced_chroma_needs_sides_that_divide() -> None:
    content = io.BytesIO()
    Image.fromarray(noise(20, 31, 3)).save(content, "JPEG2000")
    changed = bytearray(content.getvalue())
    place = changed.index(b"\xff\x4f\xff\x51") + 42
    with Image.open(content) as file:
        for offset, misread in ((0, False), (5, False), (4, True)):  # nothing, rows, columns of the second channel
            changed[place + offset] = 2 if offset else 7
            assert deep.is_misread(file, bytes(changed)) == misread


def test_ppm_of_16_bits() -> None:
    content = b"P6 # of a camera\n2 1\n# twelve bits\n4095\n" + b"\x0f\xff\0\0\x08\0" + b"\0\x01" * 3
    read = read_picture(content)
    assert (read.pixel_format, read.losses) == (PixelFormat("RGB", 16), ())
    assert read.pixels.tolist() == [[[65535, 0, 32776], [16, 16, 16]]]
    with pytest.raises(InputError, match="cut short"):
        read_picture(content[:-1])


def test_transparent_colour_of_16_bits(tmp_path) -> None:
    pixels = np.array([[[0x1234, 5, 6], [0x1200, 5, 6]]], dtype=np.uint16)
    deep_png(tmp_path / "p.png", pixels, extra={b"tRNS": pixels[0, 0].astype(">u2").tobytes()})
    assert read_picture(tmp_path / "p.png").pixels[0, :, 3].tolist() == [0, 65535]


def test_cmyk_stays_and_is_shown_by_its_profile(tmp_path) -> None:
    pixels = noise(4, 4, 4)
    pixels[0, 0] = 255, 0, 0, 0
    shown = []
    for options in ({}, {"icc_profile": small_cmyk_profile()}):
        Image.frombytes("CMYK", (4, 4), pixels.tobytes()).save(tmp_path / "p.tif", **options)
        read = read_picture(tmp_path / "p.tif")
        assert read.channels == "CMYK"
        assert np.array_equal(read.pixels, pixels)
        shown.append(read_rgb(tmp_path / "p.tif")[0, 0].tolist())
    assert shown[0] == [0, 255, 255]
    assert shown[1][0] > 200 > 120 > max(shown[1][1:])  # the profile's cyan ink is red


def test_lab_is_converted(tmp_path) -> None:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    ImageCms.profileToProfile(Image.new("RGB", (4, 4), (200, 60, 60)), *profiles, outputMode="LAB").save(
        tmp_path / "p.tif"
    )
    read = read_picture(tmp_path / "p.tif")
    assert abs(read.pixels[0, 0].astype(int) - (200, 60, 60)).max() <= 6
    assert read.losses == ("Lab converted to RGB",)


@pytest.mark.parametrize("ending", ["gif", "tiff", "png"])
def test_first_of_several_frames_is_read_and_said(tmp_path, ending) -> None:
    path = tmp_path / f"p.{ending}"
    first, *others = (Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue"))
    first.save(path, save_all=True, append_images=others)
    read = read_picture(path)
    assert read.pixels[0, 0, :3].tolist() == [255, 0, 0]
    assert read.losses == ("only the first of its frames used",)
    if ending == "gif":  # damage to later frames does not matter
        whole = path.read_bytes()
        cut = whole[: whole.rindex(b"\x2c\0\0\0\0") + 6]  # within its descriptor
        assert np.array_equal(read_picture(cut).pixels, read.pixels)


@pytest.mark.parametrize(("orientation", "ending"), ORIENTED)
def test_orientation_of_photos_is_honoured(tmp_path, orientation, ending) -> None:
    blocks = noise(3, 2, 3).repeat(8, 0).repeat(8, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(blocks).save(tmp_path / f"p.{ending}", exif=exif, lossless=True)
    turns = (
        None,
        "FLIP_LEFT_RIGHT",
        "ROTATE_180",
        "FLIP_TOP_BOTTOM",
        "TRANSPOSE",
        "ROTATE_270",
        "TRANSVERSE",
        "ROTATE_90",
    )
    with Image.open(tmp_path / f"p.{ending}") as file:
        expected = file if ending != "tif" else Image.fromarray(blocks)
        if turn := turns[orientation - 1]:
            expected = expected.transpose(Image.Transpose[turn])
        assert np.array_equal(read_picture(tmp_path / f"p.{ending}").pixels, np.array(expected))


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


def test_every_damaged_byte_of_a_png_is_noticed(tmp_path) -> None:
    Image.fromarray(noise(3, 3)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    for place in range(content.index(b"IDAT"), content.index(b"IEND") - 4):
        with pytest.raises(InputError):
            read_picture(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


def test_pictures_are_bounded_by_memory_not_by_pillow(tmp_path, monkeypatch, recwarn) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    Image.new("L", (250, 240)).save(tmp_path / "large.png")
    assert read_picture(tmp_path / "large.png").size == (240, 250)
    assert read_animation(tmp_path / "large.png") is None
    assert Image.MAX_IMAGE_PIXELS == 10_000
    assert not recwarn.list
    monkeypatch.setattr("utils.system.available_memory", lambda: 1 << 17)
    with pytest.raises(InputError, match=r"large\.png: reading 250x240 pixels needs about .* 128\.0 KiB are free"):
        read_picture(tmp_path / "large.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_refused_at_once(tmp_path) -> None:
    os.mkfifo(tmp_path / "p.png")
    with pytest.raises(InputError, match="device or pipe"):
        read_picture(tmp_path / "p.png")
    with pytest.raises(InputError, match="no pictures"):
        list_pictures(tmp_path)


def test_folders(tmp_path, pictures) -> None:
    for name in ("notes.txt", "readme.pdf", "figure.eps", "weights.h5", "._a.png", ".hidden.png"):
        (pictures / name).write_text("no picture")
    (pictures / "folder.png").mkdir()
    (tmp_path / "empty").mkdir()
    assert is_picture(tmp_path / "of_a_camera.NEF")  # which is named instead of being left out
    for folder in (pictures, tmp_path):  # or below
        assert [path.name for path in list_pictures(folder)] == ["a.png", "b.png", "c.png"]
    for folder in (tmp_path / "nothere", tmp_path / "empty"):
        with pytest.raises(InputError, match=str(folder)):
            list_pictures(folder)
