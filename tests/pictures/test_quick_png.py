"""PNG of tiles: other programs read the same pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from pictures.png import quick_png


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (40, 1), (37, 52)])
@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.parametrize("small", [False, True])
def test_pillow_reads_what_was_written(size, channels, mode, small) -> None:
    pixels = np.random.default_rng(channels).integers(0, 256, (*size, channels), dtype=np.uint8)
    image = Image.open(io.BytesIO(quick_png(pixels, small)))
    image.load()
    assert image.mode == mode
    assert np.array_equal(np.array(image).reshape(pixels.shape), pixels)


def test_photographs_become_smaller() -> None:
    small = np.random.default_rng(5).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    pixels = np.array(Image.fromarray(small).resize((256, 256), Image.Resampling.BICUBIC))
    assert len(quick_png(pixels)) < 0.5 * pixels.nbytes < len(quick_png(pixels, small=False))
    assert quick_png(pixels[:, ::-1]) == quick_png(pixels[:, ::-1].copy())
