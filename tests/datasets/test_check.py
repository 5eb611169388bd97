"""datasets.check: what is found in folders and configs, by name; the same before a training."""

from pathlib import Path

import pytest
import yaml

import train
from datasets import check
from tests.commands import call, mistake
from tests.datasets.making import write_pictures
from tests.trainings import train_config

pytestmark = pytest.mark.usefixtures("empty_folder")


def found(capsys, *arguments) -> tuple[int, str]:
    """Exit status and what is printed."""
    try:
        call(check, *arguments)
    except SystemExit as ended:
        return ended.code, capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_faulty_pictures_are_named(pictures, capsys) -> None:
    status, out = found(capsys, pictures)
    assert status == 0
    assert "3 pictures: 48 to 70 wide, 60 to 90 high\nall of them can be used" in out
    whole = (pictures / "c.png").read_bytes()
    (pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "text.jpg").write_text("no picture")
    write_pictures(Path("tiny"), dot=(20, 90))
    Path("tiny/dot.png").rename(pictures / "dot.png")
    status, out = found(capsys, pictures, "--config", train_config(pictures))
    assert status == 1
    assert "6 pictures" in out
    assert "3 cannot be used" in out
    assert all(str(pictures / name) in out for name in ("cut.png", "text.jpg"))
    assert f"{pictures / 'dot.png'} is 90x20, smaller than 32x32" in out  # inp_size 8, scale_max 4
    assert "a.png" not in out


def test_configs_name_their_own_pictures_also_in_mixtures(pictures, capsys) -> None:
    write_pictures(Path("small"), one=(31, 40), two=(32, 32))
    image_folder = {"name": "image-folder", "args": {"root_path": str(pictures), "cache": "bin"}}
    parts = [image_folder, {"name": "image-folder", "args": {"root_path": "small"}}]
    config = yaml.safe_load(train_config(pictures).read_text())
    config["train_dataset"]["dataset"] = {"name": "mixture", "args": {"parts": parts}}
    Path("config.yaml").write_text(yaml.safe_dump(config))
    status, out = found(capsys, "--config", "config.yaml")
    assert status == 1
    assert "train_dataset: 5 pictures" in out
    assert "val_dataset: 3 pictures" in out
    assert "small/one.png is 40x31, smaller than 32x32" in out
    assert "two.png" not in out
    assert not list(pictures.parent.glob("_*")), "no cache is written"


def test_training_refuses_what_the_check_finds(pictures, capsys) -> None:
    config = train_config(pictures, val_dataset=None)
    options = ("--config", config, "--name", "x", "--set", "train_dataset.wrapper.args.scale_max=7.6")  # 61 pixels
    line = mistake(capsys, train, *options)
    assert "train_dataset: " in line
    assert f"{pictures / 'a.png'} is 48x64, smaller than 61x61" in line
    assert "b.png" in line
    assert "datasets.check" in line
    assert not Path("save/x").exists()


def test_mistakes_are_explained(pictures, capsys) -> None:
    assert "needs a folder" in mistake(capsys, check)
    assert "no folder nothere" in mistake(capsys, check, "nothere")
    Path("t.yaml").write_text("protocol: rgb")
    assert "train_dataset" in mistake(capsys, check, pictures, "--config", "t.yaml")
    Path("t.yaml").write_text("train_dataset: 3")
    assert "train_dataset" in mistake(capsys, check, pictures, "--config", "t.yaml")
