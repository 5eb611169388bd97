"""The cache of decoded pictures gives the pixels of the picture, whatever has become of its copies."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import pixel_cache
from pictures.reading import read_rgb
from tests.datasets.making import folder, mistake


@pytest.fixture
def copy(pictures) -> Path:
    """The copy of a.png."""
    folder(pictures, cache="bin")[0]
    return pictures.parent / "_bin_pictures/a.png.pixels"


def read(pictures: Path) -> np.ndarray:
    return folder(pictures, cache="bin")[0]


def test_copies_are_used(pictures, copy, monkeypatch) -> None:
    expected = read_rgb(pictures / "a.png")
    monkeypatch.delattr(pixel_cache, "read_rgb")
    assert np.array_equal(read(pictures), expected)


@pytest.mark.parametrize("age", [-1000, 1000])
def test_a_replaced_picture_is_noticed(pictures, copy, age) -> None:
    """An older one, too, as unpacking an archive leaves it; and by a data set that has read the former."""
    dataset = folder(pictures, cache="bin")
    before = dataset[0].copy()
    earlier = (pictures / "a.png").stat().st_mtime
    Image.new("RGB", (48, 64), (9, 9, 9)).save(pictures / "a.png")
    os.utime(pictures / "a.png", (earlier + age, earlier + age))
    assert (dataset[0] == 9).all()
    assert (read(pictures) == 9).all()
    assert not (before == 9).all()


def test_a_picture_of_the_same_time_and_another_size_is_noticed(pictures, copy) -> None:
    state = (pictures / "a.png").stat()
    Image.new("RGB", (48, 64), (9, 9, 9)).save(pictures / "a.png")
    os.utime(pictures / "a.png", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (read(pictures) == 9).all()


def black(content: bytes) -> bytes:
    start = pixel_cache.HEADER.size
    return content[:start] + bytes(len(content) - start)


@pytest.mark.parametrize(
    "damage",
    [black, lambda content: content[:-1], lambda content: content[:20], lambda _: b"", lambda content: content + b"0"],
    ids=["black", "cut", "cut-header", "empty", "long"],
)
def test_broken_copies_are_made_again(pictures, copy, damage) -> None:
    whole = copy.read_bytes()
    state = copy.stat()
    copy.write_bytes(damage(whole))
    os.utime(copy, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert np.array_equal(read(pictures), read_rgb(pictures / "a.png"))
    assert copy.read_bytes() == whole


def test_a_copy_that_breaks_meanwhile_is_made_again(pictures, copy) -> None:
    dataset = folder(pictures, cache="bin")
    expected = dataset[0].copy()
    copy.write_bytes(black(copy.read_bytes()))
    os.utime(copy, (1, 1))
    assert np.array_equal(dataset[0], expected)


def test_a_deleted_picture_is_named(pictures, copy) -> None:
    dataset = folder(pictures, cache="bin")
    (pictures / "a.png").unlink()
    mistake(lambda: dataset[0], str(pictures / "a.png"))


def test_temporaries_of_killed_processes_go_after_a_day(pictures, copy) -> None:
    old, new = (copy.with_name(f".a.png.pixels.{token}.tmp") for token in ("0123abcd", "89abcdef"))
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    folder(pictures, cache="bin")
    assert new.exists()  # another process may be writing it
    assert not old.exists()
