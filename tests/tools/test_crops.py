"""Sheets of crops: what stands where, and what is said of crops that are not to be had."""

import numpy as np
import pytest
from PIL import Image

from painting.sheets import GAP, LABEL
from tests.commands import call, mistake
from tools import crops


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (41, 50, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    return path


def test_input_models_and_truth_of_the_same_place(picture, tmp_path) -> None:
    crop, output = (8, 4, 16, 20), tmp_path / "sheet.png"
    call(crops, f"{picture}:{','.join(map(str, crop))}", "--scale", 2, "--models", "nearest", "--output", output)
    sheet, side = np.array(Image.open(output)), (320, 256)
    tiles = [sheet[LABEL : LABEL + side[0], GAP + i * (side[1] + GAP) :][:, : side[1]][::16, ::16] for i in range(3)]
    hr = np.array(Image.open(picture))[:40]
    lr = np.array(Image.fromarray(hr).resize((25, 20), Image.Resampling.BICUBIC)).repeat(2, 0).repeat(2, 1)
    assert (tiles[0] == lr[4:24, 8:24]).all()
    assert (tiles[1] == lr[4:24, 8:24]).all()
    assert (tiles[2] == hr[4:24, 8:24]).all()
    assert (sheet[LABEL + side[0] + 4 :, GAP + side[1] + GAP :] < 128).any(), "PSNR below the model"


def test_lr_pictures_of_a_folder(picture, tmp_path) -> None:
    (tmp_path / "lr").mkdir()
    Image.new("RGB", (25, 20), (9, 8, 7)).save(tmp_path / "lr/a.png")
    command = f"{picture}:0,0,10,10", "--scale", 2, "--lr", tmp_path / "lr", "--models", "nearest", "--output"
    call(crops, *command, tmp_path / "sheet.png")
    sheet = np.array(Image.open(tmp_path / "sheet.png"))
    assert (sheet[LABEL + 9, GAP + 9] == (9, 8, 7)).all()


@pytest.mark.parametrize(
    ("crop", "said"),
    [("", "X,Y,WIDTH,HEIGHT"), (":1,2,3", "X,Y,WIDTH,HEIGHT"), (":45,0,6,6", "leaves 50x40"), (":0,35,6,6", "leaves")],
)
def test_crops_that_are_not_there(picture, tmp_path, capsys, crop, said) -> None:
    assert said in mistake(capsys, crops, f"{picture}{crop}", "--scale", 2, "--output", tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_lr_pictures_that_are_missing_or_of_another_size(picture, tmp_path, capsys) -> None:
    (tmp_path / "lr").mkdir()
    command = f"{picture}:0,0,6,6", "--scale", 2, "--lr", tmp_path / "lr", "--output", tmp_path / "sheet.png"
    Image.new("RGB", (25, 20)).save(tmp_path / "lr/b.png")
    assert "has no picture named a" in mistake(capsys, crops, *command)
    Image.new("RGB", (25, 25)).save(tmp_path / "lr/a.png")
    assert "is 25x25, not 25x20" in mistake(capsys, crops, *command)
    (tmp_path / "sheet.png").write_text("mine")
    assert "--overwrite" in mistake(capsys, crops, *command)
