"""Pictures in and out."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from utils.errors import InputError
from utils.files import atomic_file
from utils.images import (
    WRITTEN,
    check_writable,
    list_pictures,
    read_picture,
    read_rgb,
    to_pixels,
    to_tensor,
    write_picture,
)


def noise(*shape: int) -> np.ndarray:
    """Reproducible uint8 noise."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def deep_png(path: Path, colour_type: int, channels: int) -> None:
    """A one-pixel PNG of 16 bits a channel, which Pillow itself writes only in grey."""
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 1, 1, 16, colour_type, 0, 0, 0),
        b"IDAT": zlib.compress(b"\0" + b"\x12\x34" * channels),
        b"IEND": b"",
    }
    chunks = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts.items())
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize(("mode", "shape"), [("RGB", (5, 7, 3)), ("L", (5, 7))])
@pytest.mark.parametrize("ending", ["png", "tiff", "bmp", "ppm", "jp2"])
def test_rgb_and_grey_survive_exactly(tmp_path, mode, shape, ending) -> None:
    pixels = noise(*shape)
    write_picture(tmp_path / f"new/p.{ending}", pixels)
    read, notice = read_picture(tmp_path / f"new/p.{ending}")
    assert notice is None
    assert np.array_equal(read, pixels)
    assert np.array_equal(to_pixels(to_tensor(read), grey=mode == "L"), pixels)


@pytest.mark.parametrize("ending", WRITTEN)
@pytest.mark.parametrize("shape", [(5, 300, 3), (1, 1, 3), (300, 5), (1, 1)])
def test_every_written_format_keeps_the_size(tmp_path, ending, shape) -> None:
    write_picture(tmp_path / f"p{ending}", noise(*shape))
    assert read_rgb(tmp_path / f"p{ending}").shape == (*shape[:2], 3)


def test_lossy_formats_lose_little(tmp_path) -> None:
    pixels = noise(64, 64, 3)
    write_picture(tmp_path / "p.webp", pixels)
    assert np.array_equal(read_rgb(tmp_path / "p.webp"), pixels)
    write_picture(tmp_path / "p.jpg", pixels)
    error = np.abs(read_rgb(tmp_path / "p.jpg").astype(int) - pixels).mean()
    assert error < 4  # 15 at Pillow's quality of 75, 55 with its halved colours


def test_other_modes_are_converted_with_a_notice(tmp_path) -> None:
    Image.new("RGBA", (4, 3), (10, 20, 30, 128)).save(tmp_path / "rgba.png")
    pixels, notice = read_picture(tmp_path / "rgba.png")
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert "transparency" in notice
    assert "\n" not in notice
    Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    pixels, notice = read_picture(tmp_path / "deep.png")
    assert pixels.tolist() == [[0, 1, 255]]
    assert notice == f"{tmp_path / 'deep.png'}: 16-bit grey reduced to 8 bits"
    assert read_rgb(tmp_path / "deep.png").shape == (1, 3, 3)


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (1, 2, 3)), ("L", 3)])
def test_transparent_colour_of_exact_modes_is_noticed(tmp_path, mode, colour) -> None:
    Image.new(mode, (2, 2), colour).save(tmp_path / "p.png", transparency=colour)
    pixels, notice = read_picture(tmp_path / "p.png")
    assert notice == f"{tmp_path / 'p.png'}: transparency dropped"
    assert pixels[0, 0].tolist() == (list(colour) if mode == "RGB" else colour)


def test_deep_colour_is_noticed(tmp_path) -> None:
    deep_png(tmp_path / "rgb.png", 2, 3)
    (tmp_path / "p.ppm").write_bytes(b"P6 1 1 65535\n" + b"\x12\x34" * 3)
    for name in ("rgb.png", "p.ppm"):
        pixels, notice = read_picture(tmp_path / name)
        assert pixels.tolist() == [[[0x12, 0x12, 0x12]]]
        assert notice == f"{tmp_path / name}: 16 bits reduced to 8"
    deep_png(tmp_path / "rgba.png", 6, 4)
    notice = read_picture(tmp_path / "rgba.png")[1]
    assert notice == f"{tmp_path / 'rgba.png'}: mode RGBA read as RGB, 16 bits reduced to 8, transparency dropped"
    # 16 bits for a whole pixel, 5-6-5, are no deep colour
    header = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 3, 4, 0, 0, 0, 0) + struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    offset = 14 + len(header)
    (tmp_path / "p.bmp").write_bytes(struct.pack("<2sIII", b"BM", offset + 4, 0, offset) + header + b"\xff\xff\0\0")
    assert read_picture(tmp_path / "p.bmp")[1] is None


@pytest.mark.parametrize("ending", ["gif", "tiff", "png", "webp"])
def test_first_of_several_frames_is_read_with_a_notice(tmp_path, ending) -> None:
    path = tmp_path / f"p.{ending}"
    first, *others = (Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue"))
    first.save(path, save_all=True, append_images=others, lossless=True)
    pixels, notice = read_picture(path)
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert notice.endswith("only the first of its frames used")
    assert "\n" not in notice
    first.save(path, lossless=True)
    assert "its frames" not in (read_picture(path)[1] or "")


def test_damage_to_later_frames_does_not_matter(tmp_path) -> None:
    first, second = (Image.fromarray(noise(20, 20, 3)) for _ in range(2))
    first.save(tmp_path / "one.gif")
    first.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "p.gif", save_all=True, append_images=[second])
    whole = (tmp_path / "p.gif").read_bytes()
    expected = read_rgb(tmp_path / "p.gif")
    (tmp_path / "p.gif").write_bytes(whole[: whole.rindex(b"\x2c\0\0\0\0") + 6])  # within its descriptor
    assert np.array_equal(read_rgb(tmp_path / "p.gif"), expected)


def test_floats_are_scaled_or_refused(tmp_path) -> None:
    Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32)).save(tmp_path / "unit.tiff")
    pixels, notice = read_picture(tmp_path / "unit.tiff")
    assert pixels.tolist() == [[0, 128, 255]]
    assert "float" in notice
    for values in ([0, 255], [-0.1, 1], [0, np.nan]):
        Image.fromarray(np.array([values], dtype=np.float32)).save(tmp_path / "other.tiff")
        with pytest.raises(InputError, match="holds floats from"):
            read_picture(tmp_path / "other.tiff")


def test_orientation_of_photos_is_honoured(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to view
    Image.new("RGB", (8, 4)).save(tmp_path / "photo.jpg", exif=exif)
    assert read_rgb(tmp_path / "photo.jpg").shape == (8, 4, 3)


def test_rounding_is_to_the_nearest_level() -> None:
    values = torch.tensor([-0.1, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 1.7]).reshape(1, 1, -1).expand(3, -1, -1)
    assert to_pixels(values)[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("height", [1, 256, 700])
def test_bands_do_not_show(height, grey) -> None:
    picture = torch.rand(3, 5, height, generator=torch.Generator().manual_seed(0)).mT * 1.2 - 0.1
    whole = picture.mean(0, keepdim=True) if grey else picture
    expected = (whole.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(to_pixels(picture, grey), expected[:, :, 0] if grey else expected)


@pytest.mark.parametrize("grey", [False, True])
def test_conversion_needs_little_memory(grey) -> None:
    picture = torch.rand(3, 2000, 8)
    copies = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            storage = result.untyped_storage()
            if storage.data_ptr() != picture.untyped_storage().data_ptr():
                copies.append(storage.nbytes())
            return result

    with Watch():
        to_pixels(picture, grey)
    assert 0 < max(copies) < picture.nbytes / 4


def test_broken_pictures_are_named(tmp_path) -> None:
    Image.new("RGB", (64, 64), (1, 2, 3)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    (tmp_path / "text.png").write_text("not a picture")
    for name in ("cut.png", "text.png", "missing.png"):
        with pytest.raises(InputError, match=name) as caught:
            read_picture(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_too_large_pictures_are_not_called_broken(tmp_path, monkeypatch, recwarn) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    Image.new("L", (1500, 1000)).save(tmp_path / "large.png")
    assert read_picture(tmp_path / "large.png")[0].shape == (1000, 1500)
    assert not recwarn.list
    Image.new("L", (1500, 1400)).save(tmp_path / "larger.png")
    with pytest.raises(InputError, match=r"larger\.png is too large: over 2 megapixels"):
        read_picture(tmp_path / "larger.png")


@pytest.mark.parametrize("name", ["p.icns", "p.ico", "p.gif", "p.pdf", "p.eps", "p.xbm", "p"])
def test_formats_that_change_pictures_are_refused(tmp_path, name) -> None:
    with pytest.raises(InputError, match=f"'{Path(name).suffix}' is no format"):
        check_writable(tmp_path / name)
    with pytest.raises(InputError, match=r"did you mean '\.jpg'\?"):
        check_writable(tmp_path / "p.jpgg")
    assert check_writable(tmp_path / "p.JPG") == tmp_path / "p.JPG"


def test_folder_of_a_target_is_checked_and_not_made(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("p.png", "new/deeper/p.png", tmp_path / "new/deeper/p.png"):
        assert check_writable(name) == Path(name)
    Path("file").write_text("")
    for name in ("file/p.png", "file/new/p.png"):
        with pytest.raises(InputError, match="file is not a folder"):
            check_writable(name)
    Path("folder.png").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        check_writable("folder.png")
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked" or not mode & os.W_OK)
    for name in ("locked/p.png", "locked/new/deeper/p.png"):
        with pytest.raises(InputError, match="no permission to write in locked;"):
            check_writable(name)
    assert check_writable("p.png") == Path("p.png")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder.png", "locked"]


def test_unwritable_targets_leave_nothing_behind(tmp_path) -> None:
    for name in ("x.nonsense", "x"):
        with pytest.raises(InputError, match="format"):
            write_picture(tmp_path / name, np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        write_picture(tmp_path / "file" / "x.png", np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "old").mkdir()
    for name in ("new/deeper/x.jpg", "old/x.jpg"):
        with pytest.raises(InputError, match=name):
            write_picture(tmp_path / name, np.zeros((1, 70000, 3), np.uint8))  # JPEG ends at 65500
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "old"]


def test_failure_leaves_the_files_of_others(tmp_path) -> None:
    def lose_the_file() -> None:
        with atomic_file(tmp_path / "new/deeper/x.png") as temporary:
            temporary.rename(tmp_path / "new/y.png")

    with pytest.raises(FileNotFoundError):
        lose_the_file()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["new", "y.png"]


def test_folders(tmp_path, pictures) -> None:
    for name in ("notes.txt", "readme.pdf", "figure.eps", "weights.h5", "._a.png", ".hidden.png"):
        (pictures / name).write_text("no picture")
    (pictures / "folder.png").mkdir()
    assert [p.name for p in list_pictures(pictures)] == ["a.png", "b.png", "c.png"]
    for folder in (tmp_path / "nothere", tmp_path):
        with pytest.raises(InputError, match=str(folder)):
            list_pictures(folder)
