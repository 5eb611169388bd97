"""Sets of several kinds of pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datasets
from pictures.reading import read_rgb
from tests.datasets.making import wrapper
from utils.errors import InputError


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


def test_mistakes_are_named(pictures) -> None:
    paired = {"name": "paired-image-folders", "args": {"root_path_1": str(pictures), "root_path_2": str(pictures)}}
    with pytest.raises(InputError, match="'paired-image-folders'; use 'image-folder'"):
        datasets.make({"name": "mixture", "args": {"parts": [paired]}})
    with pytest.raises(InputError, match="parts is empty"):
        datasets.make({"name": "mixture", "args": {"parts": []}})
    with pytest.raises(InputError, match="expected a list"):
        datasets.make({"name": "mixture", "args": {"parts": {"name": "image-folder"}}})
