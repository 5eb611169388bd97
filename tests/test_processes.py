"""test.py and demo.py in several processes, as under torchrun: what one process alone gives."""

import json
from pathlib import Path

import pytest
import yaml

import demo
import test
from tests.commands import call
from tests.several import in_processes

pytestmark = pytest.mark.usefixtures("empty_folder")


def test_pictures_are_measured_by_all_and_reported_by_one(pictures, checkpoint, capsys) -> None:
    config = {"protocol": "rgb", "scales": [2], "datasets": {"Noise": {"hr": str(pictures)}}}
    Path("t.yaml").write_text(yaml.safe_dump(config))
    options = ["--config", "t.yaml", "--model", "bicubic", checkpoint, "--device", "cpu"]
    call(test, *options, "--json", "one.json")
    alone = capsys.readouterr().out
    statuses, said = in_processes(2, test, [*options, "--json", "two.json", "--save-images", "out"])
    assert statuses == [0, 0], said
    assert said[0].replace("two.json and the pictures to out", "one.json") == alone
    assert said[1] == ""
    one, two = (json.loads(Path(name).read_text()) for name in ("one.json", "two.json"))
    assert two["results"] == one["results"]
    assert two["complete"]
    assert len([*Path("out").rglob("*.png")]) == 6


def test_pictures_are_painted_by_all_and_counted_by_one(pictures) -> None:
    (pictures / "d.png").write_text("broken")
    options = ["--input", pictures, "--output", "out", "--scale", 2, "--model", "bicubic", "--device", "cpu"]
    (first, second), said = in_processes(2, demo, options)
    assert (first, second) == (1, 0), said
    assert "wrote 3 pictures" in said[0]
    assert "1 of 4 pictures failed" in said[0]
    assert "d.png" in said[0]
    assert said[1].count("out/") == 1, "it says what it has written itself"
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "b.png", "c.png"]


def test_a_single_picture_is_painted_once(pictures) -> None:
    options = [
        "--input",
        pictures / "a.png",
        "--output",
        "o.png",
        *["--scale", "2", "--model", "bicubic", "--device", "cpu"],
    ]
    statuses, said = in_processes(2, demo, options)
    assert statuses == [0, 0], said
    assert "o.png" in said[0]
    assert said[1] == ""
