"""Folders of pictures: caches, selections, pairs, sizes."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import datasets
from datasets.folders import picture_size
from pictures.reading import read_rgb
from pictures.tensors import to_tensor
from tests.datasets.making import folder, mistake, paired, wrapper
from utils.errors import InputError


@pytest.mark.parametrize("cache", ["none", "bin", "in_memory"])
def test_caches_hold_the_same_pixels(pictures, cache) -> None:
    dataset = folder(pictures, cache=cache, repeat=2)
    assert len(dataset) == 6
    for i, name in enumerate(["a", "b", "c", "a"]):
        assert np.array_equal(dataset[i], read_rgb(pictures / f"{name}.png"))
        assert dataset.path(i).stem == name


def test_pictures_of_the_bin_cache_make_tensors_without_warnings(pictures) -> None:
    dataset = folder(pictures, cache="bin")
    expected = read_rgb(pictures / "a.png")
    samples = wrapper("sr-implicit-paired", paired(pictures, pictures, cache="bin"))
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # else PyTorch warns of read-only arrays once in a process, perhaps in another test
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            item = samples[0]
            to_tensor(samples.pair(0)[0])
            wrapper("sr-implicit-downsampled", dataset, scale_min=2)[0]
    finally:
        torch.set_warn_always(always)
    assert torch.equal(item["inp"], to_tensor(expected))

    item["inp"].zero_()
    assert np.array_equal(dataset[0], expected), "what is done to a tensor stays out of the cache"


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
        ("a.png", ["not JSON"]),
    ],
)
def test_split_files_that_name_no_pictures(pictures, tmp_path, content, words) -> None:
    (tmp_path / "split.json").write_text(content)
    split = {"split_file": str(tmp_path / "split.json"), "split_key": "test"}
    mistake(lambda: folder(pictures, **split), "split.json", *words)


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("first_k", 0, "whole number from 1 or null"),
        ("first_k", -1, "whole number from 1 or null"),
        ("first_k", True, "whole number"),
        ("repeat", 0, "whole number from 1"),
        ("repeat", None, "whole number from 1"),
        ("repeat", "2", "whole number from 1"),
        ("root_path", None, "folder or a list"),
        ("root_path", 5, "folder or a list"),
        ("root_path", [], "folder or a list"),
        ("root_path", ["pictures", 5], "folder or a list"),
        ("split_file", 5, "a path"),
        ("split_file", ".", "no file but a folder"),
    ],
)
def test_wrong_arguments_of_folders(pictures, argument, value, expected) -> None:
    arguments = {"root_path": str(pictures), argument: value}
    mistake(lambda: datasets.make({"name": "image-folder", "args": arguments}), argument, expected)
    pairs = {f"{name}_{i}": path for name, path in arguments.items() if name == "root_path" for i in (1, 2)}
    rest = {name: value for name, value in arguments.items() if name != "root_path"}
    spec = {"name": "paired-image-folders", "args": {**pairs, **rest}}
    mistake(lambda: datasets.make(spec), argument + "_1" * (argument == "root_path"), expected)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_sizes_from_headers_are_those_of_the_upright_pictures(tmp_path, ending, orientation) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    assert picture_size(path) == read_rgb(path).shape[:2] == ((20, 40) if orientation == 1 else (40, 20))
