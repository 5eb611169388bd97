"""The map of decoded pictures gives the pixels of the pictures, to all processes, whatever changes."""

import multiprocessing
import os
import pickle
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datasets import cache
from pictures.reading import read_rgb
from tests.datasets.making import folder, mistake, wrapper
from utils.files import LOCK, locked


def read(pictures: Path, **arguments) -> list[np.ndarray]:
    dataset = folder(pictures, cache="memmap", **arguments)
    return [dataset[index] for index in range(len(dataset))]


def same(pictures: Path, found: list[np.ndarray]) -> bool:
    expected = [read_rgb(path) for path in sorted(pictures.iterdir())]
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


@pytest.fixture
def file(pictures) -> Path:
    """The map of all three pictures."""
    assert same(pictures, read(pictures))
    return pictures.parent / "_map_pictures/pixels"


def test_pictures_come_from_the_map(pictures, file, monkeypatch) -> None:
    monkeypatch.delattr(cache, "read_rgb")
    assert same(pictures, read(pictures))
    assert {path.name for path in file.parent.iterdir()} == {"pixels"}, "no lock, nothing temporary is left"


def test_only_what_has_changed_is_decoded_again(pictures, file, monkeypatch) -> None:
    decoded = []
    monkeypatch.setattr(cache, "read_rgb", lambda path: decoded.append(path.name) or read_rgb(path))
    state = (pictures / "b.png").stat()
    Image.new("RGB", (50, 40), (9, 9, 9)).save(pictures / "b.png")
    os.utime(pictures / "b.png", ns=(state.st_atime_ns, state.st_mtime_ns - 10**12))  # an archive's older one
    assert same(pictures, read(pictures))
    Image.new("RGB", (10, 10)).save(pictures / "d.png")
    (pictures / "a.png").unlink()
    assert same(pictures, read(pictures))
    assert decoded == ["b.png", "d.png"]


def test_selections_of_a_folder_share_the_map(pictures, monkeypatch) -> None:
    first = folder(pictures, cache="memmap", first_k=1)
    everything = folder(pictures, cache="memmap")
    monkeypatch.delattr(cache, "read_rgb")
    assert np.array_equal(first[0], read_rgb(pictures / "a.png"))
    assert len(read(pictures, first_k=2)) == 2
    assert same(pictures, [everything[index] for index in range(3)])


@pytest.mark.parametrize(
    "damage",
    [lambda c: c[:-1], lambda c: c[:9], lambda _: b"", lambda c: c + b"0", lambda c: c[:-40] + b"9" + c[-39:]],
    ids=["cut", "cut-footer", "empty", "long", "another-index"],
)
def test_a_damaged_map_is_made_again(pictures, file, damage) -> None:
    file.write_bytes(damage(file.read_bytes()))
    assert same(pictures, read(pictures))


def test_workers_that_are_not_forked_map_it_themselves(pictures, file) -> None:
    dataset = folder(pictures, cache="memmap")
    content = pickle.dumps(dataset)
    assert len(content) < 2000, "without the pixels"
    again = pickle.loads(content)
    assert same(pictures, [again[index] for index in range(3)])


def test_crops_and_whole_pictures_become_tensors_without_warnings(pictures) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for arguments in ({"inp_size": 8, "sample_q": 16}, {"scale_min": 1}):
            item = wrapper("sr-implicit-downsampled", folder(pictures, cache="memmap"), **arguments)[0]
            item["gt"].mul_(2)
            item["inp"].mul_(2)
    assert same(pictures, read(pictures)), "what is done to a tensor stays out of the map"
    assert torch.is_tensor(item["gt"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_processes_that_start_together_make_one_map(pictures, tmp_path) -> None:
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=lambda: sys.exit(not same(pictures, read(pictures)))) for _ in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0, 0]
    assert {path.name for path in (tmp_path / "_map_pictures").iterdir()} == {"pixels"}


def test_who_comes_second_waits_and_takes_what_the_first_has_made(pictures, monkeypatch, tmp_path) -> None:
    (tmp_path / "_map_pictures").mkdir()
    waiting = []

    def first_is_done(folder, wait):
        """Another process makes the map while this one waits for the lock."""
        waiting.append(wait)
        monkeypatch.setattr(cache, "locked", locked)
        read(pictures)
        monkeypatch.delattr(cache, "read_rgb")
        return locked(folder, wait)

    monkeypatch.setattr(cache, "locked", first_is_done)
    assert len(read(pictures)) == 3
    assert waiting == [True]
    assert not (tmp_path / "_map_pictures" / LOCK).exists()


def test_what_killed_processes_left_is_removed(pictures, tmp_path) -> None:
    left = tmp_path / "_map_pictures/.pixels.0123abcd.tmp"
    left.parent.mkdir()
    left.write_bytes(b"x")
    os.utime(left, (time.time() - 2 * 24 * 3600,) * 2)
    assert same(pictures, read(pictures))
    assert not left.exists()


def test_broken_pictures_and_places_without_permission_are_one_line(pictures, tmp_path) -> None:
    (pictures / "d.png").write_bytes((pictures / "a.png").read_bytes()[:99])
    mistake(lambda: read(pictures), "d.png", "cut short")
    assert not (tmp_path / "_map_pictures").exists(), "nothing half-written"
    (tmp_path / "_map_pictures").write_text("a file")
    mistake(lambda: read(pictures, first_k=3), "_map_pictures", "cache: none")
