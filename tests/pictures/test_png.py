"""zlib streams made of parts."""

import zlib

import numpy as np
import pytest

from pictures.png import WINDOW, compressed


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

    def endless():
        for number in range(50):
            made.append(number)
            yield b"part"

    for number, _ in enumerate(compressed(endless(), 4, 3)):
        assert len(made) <= number + 3


def test_what_parts_raise_is_raised() -> None:
    def broken():
        yield b"one"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(compressed(broken(), 4, 2))
