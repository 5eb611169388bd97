"""The cache of decoded pictures gives the pixels of the pictures, to all processes, whatever changes."""

import multiprocessing
import os
import pickle
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import cache
from pictures.reading import read_rgb
from tests.datasets.making import folder, mistake, wrapper


def read(pictures: Path, **arguments) -> list[np.ndarray]:
    dataset = folder(pictures, cache="memmap", **arguments)
    return [dataset[index] for index in range(len(dataset))]


def same(pictures: Path, found: list[np.ndarray]) -> bool:
    expected = [read_rgb(path) for path in sorted(pictures.iterdir())]
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


@pytest.fixture
def place(pictures) -> Path:
    """The arrays of all three pictures."""
    assert same(pictures, read(pictures))
    return pictures.parent / "_map_pictures"


def test_pictures_come_from_their_arrays(pictures, place, monkeypatch) -> None:
    monkeypatch.delattr(cache, "read_rgb")
    assert same(pictures, read(pictures))
    assert len(read(pictures, first_k=2)) == 2
    names = {"a.png.npy", "b.png.npy", "c.png.npy"}
    assert {path.name for path in place.iterdir()} == names, "no lock, nothing temporary is left"
    content = pickle.dumps(folder(pictures, cache="memmap"))
    assert len(content) < 2000, "workers that are not forked get no pixels"
    assert same(pictures, [pickle.loads(content)[index] for index in range(3)])


def test_only_what_has_changed_is_decoded_again(pictures, place, monkeypatch) -> None:
    decoded = []
    monkeypatch.setattr(cache, "read_rgb", lambda path: decoded.append(path.name) or read_rgb(path))
    state = (pictures / "b.png").stat()
    Image.new("RGB", (50, 40), (9, 9, 9)).save(pictures / "b.png")
    os.utime(pictures / "b.png", ns=(state.st_atime_ns, state.st_mtime_ns - 10**12))  # an archive's older one
    assert same(pictures, read(pictures))
    Image.new("RGB", (10, 10)).save(pictures / "d.png")
    (pictures / "a.png").unlink()
    left = place / ".b.png.npy.0123abcd.tmp"
    left.write_bytes(b"of a killed process")
    assert same(pictures, read(pictures))
    assert decoded == ["b.png", "d.png"]
    assert not left.exists()


@pytest.mark.parametrize("length", [0, 60, 200])
def test_damaged_arrays_are_made_again(pictures, place, length) -> None:
    time = (pictures / "b.png").stat().st_mtime_ns
    (place / "b.png.npy").write_bytes((place / "b.png.npy").read_bytes()[:length])
    os.utime(place / "b.png.npy", ns=(time, time))
    assert same(pictures, read(pictures))


def test_crops_and_whole_pictures_become_tensors_without_warnings(pictures) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for arguments in ({"inp_size": 8, "sample_q": 16}, {"scale_min": 1}):
            item = wrapper("sr-implicit-downsampled", folder(pictures, cache="memmap"), **arguments)[0]
            item["gt"].mul_(2)
            item["inp"].mul_(2)
    assert same(pictures, read(pictures)), "what is done to a tensor stays out of the cache"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_processes_that_start_together_decode_once(pictures, monkeypatch) -> None:
    """Those that come second wait for the first one."""
    counts = multiprocessing.Array("i", 3)

    def slow(path: Path) -> np.ndarray:
        counts["abc".index(path.stem)] += 1
        time.sleep(0.1)
        return read_rgb(path)

    monkeypatch.setattr(cache, "read_rgb", slow)
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=read, args=(pictures,)) for _ in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0, 0]
    assert list(counts) == [1, 1, 1]
    assert same(pictures, read(pictures))


def test_broken_pictures_and_places_without_permission_are_one_line(pictures, tmp_path) -> None:
    (pictures / "d.png").write_bytes((pictures / "a.png").read_bytes()[:99])
    mistake(lambda: read(pictures), "d.png", "cut short")
    left = {path.suffix for path in (tmp_path / "_map_pictures").iterdir()}
    assert left <= {".npy"}, "nothing half-written"
    for path in (tmp_path / "_map_pictures").iterdir():
        path.unlink()
    (tmp_path / "_map_pictures").rmdir()
    (tmp_path / "_map_pictures").write_text("a file")
    mistake(lambda: read(pictures, first_k=3), "_map_pictures", "cache: none")
