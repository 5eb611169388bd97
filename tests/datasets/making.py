"""Data sets as configs make them, and the mistakes they refuse."""

from pathlib import Path

import pytest
from PIL import Image

import datasets
from utils.errors import InputError


def folder(root, **arguments):
    return datasets.make({"name": "image-folder", "args": {"root_path": root, **arguments}})


def wrapper(name, dataset, **arguments):
    return datasets.make({"name": name, "args": arguments}, dataset=dataset)


def paired(lr, hr, **arguments):
    paths = {"root_path_1": str(lr), "root_path_2": str(hr)}
    return datasets.make({"name": "paired-image-folders", "args": {**paths, **arguments}})


def mistake(make, *words) -> None:
    """`make()` must raise an InputError of one line that holds the `words`."""
    with pytest.raises(InputError) as caught:
        make()
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


def write_pictures(folder: Path, **sizes) -> Path:
    """Black pictures of (height, width) under their names."""
    folder.mkdir(parents=True)
    for name, (height, width) in sizes.items():
        Image.new("RGB", (width, height)).save(folder / f"{name}.png")
    return folder
