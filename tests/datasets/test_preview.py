"""datasets.preview: the sheet shows what training draws."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from datasets import preview
from datasets.preview import CAPTION, GAP, SIDE, spread
from tests.commands import call, mistake
from tests.trainings import train_config
from training.parts import SeededItems
from training.setup import prepare_data

pytestmark = pytest.mark.usefixtures("empty_folder")


def test_the_sheet_shows_the_items_of_the_first_epoch(pictures) -> None:
    """The LR picture of a place on the sheet is the one that the training gets."""
    config = train_config(pictures, seed=7)
    call(preview, config, "--output", "sheet.png", "--count", 3, "--columns", 2)
    sheet = np.array(Image.open("sheet.png"))
    assert sheet.shape == (2 * (SIDE + CAPTION + GAP), 2 * (2 * SIDE + 3 * GAP), 3)
    samples, _ = prepare_data(yaml.safe_load(config.read_text()), "config")
    items = SeededItems(samples, 7)
    for number, index in enumerate(spread(len(samples), 3)):
        top, left = number // 2 * (SIDE + CAPTION + GAP) + GAP, number % 2 * (2 * SIDE + 3 * GAP) + GAP
        middle = SIDE // 8 // 2
        lr = sheet[top + middle : top + SIDE : SIDE // 8, left + middle : left + SIDE : SIDE // 8]
        assert torch.equal(torch.from_numpy(lr.copy()).permute(2, 0, 1) / 255, items[1, index, 0]["inp"])


def test_whole_pictures_of_any_size_fit(pictures) -> None:
    config = train_config(pictures)
    options = ("--part", "val_dataset", "--count", 100, "--set", "val_dataset.wrapper.args={scale_min: 1.5}")
    call(preview, config, "--output", "sheet.png", *options)
    sheet = np.array(Image.open("sheet.png"))
    assert sheet.shape[0] == 3 * (SIDE + CAPTION + GAP), "12 items in rows of 4"
    corners = sheet[GAP + 5 :: SIDE + CAPTION + GAP, GAP + 5 :: 2 * SIDE + 3 * GAP]
    assert corners[0, 0].tolist() != [255, 255, 255]


def test_all_parts_of_a_set_are_shown() -> None:
    assert spread(3, 24) == [0, 1, 2]
    assert spread(100, 2) == [0, 99]
    assert len(spread(1000, 24)) == 24
    assert spread(1, 1) == [0]


def test_mistakes_are_explained(pictures, capsys) -> None:
    config = train_config(pictures, val_dataset=None)
    assert "missing.yaml" in mistake(capsys, preview, "missing.yaml", "--output", "x.png")
    assert "val_dataset" in mistake(capsys, preview, config, "--output", "x.png", "--part", "val_dataset")
    assert "x.txt" in mistake(capsys, preview, config, "--output", "x.txt")
    assert not Path("x.png").exists()
