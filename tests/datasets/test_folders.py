"""Folders of pictures: caches, selections, pairs, sizes, mixtures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets.folders import picture_size
from pictures.reading import read_rgb
from tests.datasets.making import folder, mistake, wrapper
from utils.errors import InputError


@pytest.mark.parametrize("cache", ["none", "bin", "in_memory"])
def test_caches_hold_the_same_pixels(pictures, cache) -> None:
    dataset = folder(pictures, cache=cache, repeat=2)
    assert len(dataset) == 6
    for i, name in enumerate(["a", "b", "c", "a"]):
        assert np.array_equal(dataset[i], read_rgb(pictures / f"{name}.png"))
        assert dataset.path(i).stem == name


def test_selection(pictures, tmp_path) -> None:
    (tmp_path / "split.json").write_text(json.dumps({"test": ["c.png", "a.png"]}))
    split = {"split_file": str(tmp_path / "split.json"), "split_key": "test"}
    assert [p.name for p in folder(pictures, **split).paths] == ["c.png", "a.png"]
    assert [p.name for p in folder([tmp_path / "nothere", pictures], first_k=1).paths] == ["a.png"]
    with pytest.raises(InputError, match="split_key"):
        folder(pictures, **{**split, "split_key": "nokey"})
    with pytest.raises(InputError, match="nothere"):
        folder(tmp_path / "nothere")
    with pytest.raises(InputError, match="cache 'ram'"):
        folder(pictures, cache="ram")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"test": []}', ["'test'", "list of file names"]),
        ('{"test": "a.png"}', ["'test'", "list of file names"]),
        ('{"test": ["a.png", "x.png"]}', ["x.png", "pictures"]),
        ('{"test": ["../pictures/a.png"]}', ["../pictures/a.png", "not in"]),
        ('["a.png"]', ["no key 'test'"]),
        ("a.png", ["JSON"]),
    ],
)
def test_split_files_that_name_no_pictures(pictures, tmp_path, content, words) -> None:
    (tmp_path / "split.json").write_text(content)
    split = {"split_file": str(tmp_path / "split.json"), "split_key": "test"}
    mistake(lambda: folder(pictures, **split), "split.json", *words)


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("first_k", -1, "whole number from 1 or null"),
        ("first_k", True, "whole number"),
        ("repeat", 0, "whole number from 1"),
        ("root_path", None, "folder or a list"),
        ("root_path", [], "folder or a list"),
        ("root_path", ["pictures", 5], "folder or a list"),
        ("split_file", 5, "a path"),
        ("split_file", ".", "is a folder, not a file"),
    ],
)
def test_wrong_arguments_of_folders(pictures, argument, value, expected) -> None:
    arguments = {"root_path": str(pictures), argument: value}
    mistake(lambda: datasets.make({"name": "image-folder", "args": arguments}), argument, expected)
    pairs = {f"{name}_{i}": path for name, path in arguments.items() if name == "root_path" for i in (1, 2)}
    rest = {name: value for name, value in arguments.items() if name != "root_path"}
    spec = {"name": "paired-image-folders", "args": {**pairs, **rest}}
    mistake(lambda: datasets.make(spec), argument + "_1" * (argument == "root_path"), expected)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_sizes_from_headers_are_those_of_the_upright_pictures(tmp_path, ending, orientation) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    assert picture_size(path) == read_rgb(path).shape[:2] == ((20, 40) if orientation == 1 else (40, 20))


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A folder of one flat picture."""
    folder = tmp_path / "drawn"
    folder.mkdir()
    Image.new("RGB", (40, 50), (200, 10, 10)).save(folder / "flat.png")
    return folder


def mixture(pictures: Path, drawn: Path):
    photographs = {"name": "image-folder", "args": {"root_path": str(pictures), "repeat": 2}}
    drawings = {"name": "image-folder", "args": {"root_path": str(drawn)}}
    return datasets.make({"name": "mixture", "args": {"parts": [photographs, drawings]}})


def test_parts_follow_one_another_as_often_as_they_repeat(pictures, drawn) -> None:
    dataset = mixture(pictures, drawn)
    assert len(dataset) == 7
    assert [dataset.path(index).stem for index in range(7)] == [*"abcabc", "flat"]
    for index in range(7):
        assert np.array_equal(dataset[index], read_rgb(dataset.path(index)))
    assert dataset.sizes() == [(64, 48), (60, 70), (90, 61), (50, 40)]
    with pytest.raises(IndexError):
        dataset.path(7)


def test_wrappers_take_a_mixture(pictures, drawn) -> None:
    samples = wrapper("sr-implicit-downsampled", mixture(pictures, drawn), inp_size=10, scale_min=2, sample_q=30)
    samples.check_batches(7)
    assert len(samples) == 7
    assert samples[6]["gt"].unique(dim=0).shape == (1, 3)
    assert len(samples[0]["gt"].unique(dim=0)) > 10


def test_mistakes_of_mixtures_are_named(pictures) -> None:
    paired = {"name": "paired-image-folders", "args": {"root_path_1": str(pictures), "root_path_2": str(pictures)}}
    with pytest.raises(InputError, match="'paired-image-folders'; use 'image-folder'"):
        datasets.make({"name": "mixture", "args": {"parts": [paired]}})
    with pytest.raises(InputError, match="parts is empty"):
        datasets.make({"name": "mixture", "args": {"parts": []}})
    with pytest.raises(InputError, match="expected a list"):
        datasets.make({"name": "mixture", "args": {"parts": {"name": "image-folder"}}})
