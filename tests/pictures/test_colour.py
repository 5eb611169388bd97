"""Pictures as GIF holds them."""

import numpy as np
import pytest
from PIL import Image

from pictures.colour import TRANSPARENT, palette_image, palette_losses
from pictures.picture import Picture
from tests.pictures.making import noise


def colours(count: int) -> np.ndarray:
    """(1, count, 3) different colours."""
    numbers = np.arange(count)
    return np.stack([numbers % 256, numbers // 256, numbers % 7], axis=1).astype(np.uint8)[None]


@pytest.mark.parametrize("count", [1, 255, 256])
def test_few_colours_stay_exactly(tmp_path, count) -> None:
    assert not palette_losses(Picture(colours(count), "RGB"))
    palette_image(Picture(colours(count), "RGB")).save(tmp_path / "p.gif")
    with Image.open(tmp_path / "p.gif") as file:
        assert "transparency" not in file.info
        assert np.array_equal(np.array(file.convert("RGB")), colours(count))


def test_hidden_colours_take_no_entries() -> None:
    pixels = np.dstack([colours(600), np.zeros((1, 600), np.uint8)])
    pixels[0, :255, 3] = 255
    assert not palette_losses(Picture(pixels, "RGBA"))
    made = np.array(palette_image(Picture(pixels, "RGBA")).convert("RGBA"))
    assert np.array_equal(made[0, :255], pixels[0, :255])
    assert not made[0, 255:, 3].any()


@pytest.mark.parametrize("channels", [2, 4])
def test_only_what_is_less_than_half_opaque_is_transparent(channels) -> None:
    pixels = noise(60, 60, channels)
    image = palette_image(Picture(pixels, {2: "LA", 4: "RGBA"}[channels]))
    assert np.array_equal(np.array(image) == TRANSPARENT, pixels[..., -1] < 128)
    error = np.abs(np.array(image.convert("RGBA"))[..., 0].astype(int) - pixels[..., 0])
    assert error[pixels[..., -1] >= 128].mean() < (1 if channels == 2 else 20)


def test_many_opaque_colours_get_no_transparency() -> None:
    picture = Picture(noise(60, 60, 3), "RGB")
    assert palette_losses(picture) == ["colours reduced to 256"]
    assert (np.array(palette_image(picture).convert("RGBA"))[..., 3] == 255).all()
