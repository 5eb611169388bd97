"""Tiles as PNG: other programs read the same pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.web.conftest import blobs
from web.png import png


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (40, 1), (37, 52)])
@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.parametrize("small", [False, True])
def test_pillow_reads_what_was_written(size, channels, mode, small) -> None:
    pixels = np.random.default_rng(channels).integers(0, 256, (*size, channels), dtype=np.uint8)
    image = Image.open(io.BytesIO(png(pixels, small)))
    image.load()
    assert image.mode == mode
    assert np.array_equal(np.array(image).reshape(pixels.shape), pixels)


def test_photographs_become_smaller() -> None:
    pixels = blobs(256, 256)
    assert len(png(pixels)) < 0.5 * pixels.nbytes < len(png(pixels, small=False))
    assert png(pixels[:, ::-1]) == png(pixels[:, ::-1].copy())
