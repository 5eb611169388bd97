"""Pictures in and out."""

import numpy as np
import pytest
import torch
from PIL import Image

from utils.errors import InputError
from utils.images import list_pictures, read_picture, read_rgb, to_pixels, to_tensor, write_picture


@pytest.mark.parametrize(("mode", "shape"), [("RGB", (5, 7, 3)), ("L", (5, 7))])
@pytest.mark.parametrize("ending", ["png", "tiff", "bmp"])
def test_rgb_and_grey_survive_exactly(tmp_path, mode, shape, ending) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_picture(tmp_path / f"new/p.{ending}", pixels)
    read, notice = read_picture(tmp_path / f"new/p.{ending}")
    assert notice is None
    assert np.array_equal(read, pixels)
    assert np.array_equal(to_pixels(to_tensor(read), grey=mode == "L"), pixels)


def test_other_modes_are_converted_with_a_notice(tmp_path) -> None:
    Image.new("RGBA", (4, 3), (10, 20, 30, 128)).save(tmp_path / "rgba.png")
    pixels, notice = read_picture(tmp_path / "rgba.png")
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert "transparency" in notice
    assert "\n" not in notice
    Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    pixels, notice = read_picture(tmp_path / "deep.png")
    assert pixels.tolist() == [[0, 1, 255]]
    assert "16-bit" in notice
    assert read_rgb(tmp_path / "deep.png").shape == (1, 3, 3)


def test_orientation_of_photos_is_honoured(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to view
    Image.new("RGB", (8, 4)).save(tmp_path / "photo.jpg", exif=exif)
    assert read_rgb(tmp_path / "photo.jpg").shape == (8, 4, 3)


def test_rounding_is_to_the_nearest_level() -> None:
    values = torch.tensor([-0.1, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 1.7]).reshape(1, 1, -1).expand(3, -1, -1)
    assert to_pixels(values)[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]


def test_broken_pictures_are_named(tmp_path) -> None:
    Image.new("RGB", (64, 64), (1, 2, 3)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    (tmp_path / "text.png").write_text("not a picture")
    for name in ("cut.png", "text.png", "missing.png"):
        with pytest.raises(InputError, match=name) as caught:
            read_picture(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_unwritable_targets_leave_nothing_behind(tmp_path) -> None:
    for name in ("x.nonsense", "x"):
        with pytest.raises(InputError, match="format"):
            write_picture(tmp_path / name, np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        write_picture(tmp_path / "file" / "x.png", np.zeros((2, 2, 3), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_folders(tmp_path, pictures) -> None:
    (pictures / "notes.txt").write_text("no picture")
    assert [p.name for p in list_pictures(pictures)] == ["a.png", "b.png", "c.png"]
    for folder in (tmp_path / "nothere", tmp_path):
        with pytest.raises(InputError, match=str(folder)):
            list_pictures(folder)
