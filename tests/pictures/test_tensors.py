"""Pixels <-> tensors."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pictures.picture import Picture
from pictures.tensors import Layers, to_pixels
from tests.pictures.making import noise


@pytest.mark.parametrize("channels", ["L", "LA", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_kind_survives_exactly(channels, dtype) -> None:
    pixels = noise(4, 5, len(channels), dtype=np.uint8 if dtype == np.float32 else dtype)
    picture = Picture(pixels / np.float32(255) if dtype == np.float32 else pixels, channels)
    layers = Layers.of(picture)
    assert (layers.alpha is not None) == channels.endswith("A")
    back = layers.pixels(picture.pixel_format.depth, channels)
    assert back.dtype == dtype
    assert np.abs(back - picture.pixels).max() <= (1e-7 if dtype == np.float32 else 0)


def test_all_levels_of_16_bits_survive() -> None:
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    assert np.array_equal(Layers.of(Picture(pixels, "L")).pixels(16, "L"), pixels)


def test_inks_are_what_is_missing_of_white() -> None:
    ink = np.array([[[255, 0, 0, 0]]], np.uint8)
    layers = Layers.of(Picture(ink, "CMYK"))
    assert layers.colour.ravel().tolist() == [0, 1, 1, 1]
    assert layers.rgb().tolist() == [[[0, 255, 255]]]


def test_transparency_is_filled() -> None:
    layers = Layers(torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(-1, 1, 3), torch.tensor([[[0, 0.5, 1]]]))
    assert layers.over((255, 0, 0)).colour[:, 0].T.tolist() == [[1, 0, 0], [0.5, 0, 0.5], [0, 0, 1]]
    grey = Layers(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
    assert grey.over((255, 255, 255)).colour.item() == pytest.approx(1)


def test_a_window_is_that_part() -> None:
    picture = torch.arange(35.0).reshape(1, 5, 7)
    window = Layers(picture, picture).window(1, 2, (3, 2))
    assert window.colour.tolist() == window.alpha.tolist() == picture[:, 1:4, 2:4].tolist()


def test_rounding_is_to_the_nearest_level() -> None:
    values = torch.tensor([-0.1, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 1.7]).reshape(1, 1, -1).expand(3, -1, -1)
    assert to_pixels(values)[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]


def test_rounding_is_unbiased() -> None:
    values = torch.rand(1, 300, 300, generator=torch.Generator().manual_seed(0))
    assert abs((to_pixels(values)[..., 0] / 255 - values[0].numpy()).mean()) < 1e-5


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
