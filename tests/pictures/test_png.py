"""PNG: zlib streams made of parts, and tiles, which other programs read as they were."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from pictures.png import WINDOW, compressed, quick_png
from tests.pictures.making import noise


def parts_of(*sizes: int) -> list[memoryview]:
    """Bytes that repeat each other after a window, and parts of these sizes of them."""
    once = np.random.default_rng(0).integers(0, 256, WINDOW - 999, dtype=np.uint8).tobytes()
    content, parts = once * (sum(sizes) // len(once) + 1), []
    for size in sizes:
        parts.append(memoryview(content)[:size])
        content = content[size:]
    return parts


@pytest.mark.parametrize("sizes", [(), (0,), (1,), (WINDOW,), (100_000, 3, 0, 7, 100_000, 50_000)])
@pytest.mark.parametrize("level", [0, 4, 9])
def test_the_stream_is_that_of_all_parts(sizes, level) -> None:
    parts = parts_of(*sizes)
    streams = [b"".join(compressed(parts, level, threads)) for threads in (1, 2, 5)]
    assert zlib.decompress(streams[0]) == b"".join(parts)
    assert len(set(streams)) == 1, "the same with any number of threads"


def test_parts_know_what_was_before_them() -> None:
    parts = parts_of(*[WINDOW] * 20)
    assert len(b"".join(compressed(parts, 4, 2))) < 2 * WINDOW


def test_few_parts_are_held() -> None:
    made = []
    parts = (made.append(number) or b"part" for number in range(50))
    for number, _ in enumerate(compressed(parts, 4, 3)):
        assert len(made) <= number + 3


def test_what_parts_raise_is_raised() -> None:
    def broken():
        yield b"one"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(compressed(broken(), 4, 2))


@pytest.mark.parametrize("size", [(1, 1), (37, 52)])
@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_pillow_reads_quick_pngs(size, channels, mode) -> None:
    pixels = noise(*size, channels)
    for small in (False, True):
        image = Image.open(io.BytesIO(quick_png(pixels, small)))
        assert image.mode == mode
        assert np.array_equal(np.array(image).reshape(pixels.shape), pixels)


def test_quick_pngs_of_photographs_are_small() -> None:
    pixels = np.array(Image.fromarray(noise(6, 7, 3)).resize((256, 256), Image.Resampling.BICUBIC))
    assert len(quick_png(pixels)) < 0.5 * pixels.nbytes < len(quick_png(pixels, small=False))
    assert quick_png(pixels[:, ::-1]) == quick_png(pixels[:, ::-1].copy())
