"""demo.py as users call it: what it writes, and one line for every mistake."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import demo
from tests.commands import call, mistake

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.mark.parametrize(
    ("options", "size"),
    [(("--scale", "2.5"), (120, 160)), (("--scale", "3x1.5"), (72, 192)), (("--size", "100x31"), (100, 31))],
)
def test_demo_sizes(pictures, checkpoint, capsys, options, size) -> None:
    Image.open(pictures / "a.png").convert("L").save("grey.png")
    call(
        demo,
        "--input",
        pictures / "a.png",
        "--output",
        "sub/o.png",
        "--model",
        checkpoint,
        "--gpu",
        "0",
        "--fast",
        "True",
        *options,
    )
    call(demo, "--input", "grey.png", "--output", "grey_o.png", "--model", checkpoint, *options)
    assert Image.open("sub/o.png").size == Image.open("grey_o.png").size == size
    assert (Image.open("sub/o.png").mode, Image.open("grey_o.png").mode) == ("RGB", "L")
    out = capsys.readouterr().out
    assert f"48x64 -> {size[0]}x{size[1]}" in out
    assert "wrote sub/o.png" in out
    if not torch.cuda.is_available():
        assert "using the CPU" in out


def test_demo_without_the_fast_path_gives_the_same_picture(pictures, checkpoint) -> None:
    for fast in ("True", "False"):
        call(
            demo,
            "--input",
            pictures / "a.png",
            "--output",
            f"{fast}.png",
            "--model",
            checkpoint,
            "--scale",
            2,
            "--fast",
            fast,
        )
    difference = np.array(Image.open("True.png")).astype(int) - np.array(Image.open("False.png"))
    assert abs(difference).max() <= 1


def test_demo_folder_goes_on_past_a_broken_picture(pictures, capsys) -> None:
    (pictures / "b.png").write_text("broken")
    line = mistake(capsys, demo, "--input", pictures, "--output", "out", "--model", "bicubic", "--scale", 2)
    assert "1 of 3" in line
    assert "b.png" in line
    assert sorted(p.name for p in Path("out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--input": "nothere.png"}, ["nothere.png"]),
        ({"--input": "text.png"}, ["text.png"]),
        ({"--model": "nothere.pth"}, ["nothere.pth"]),
        ({"--model": "bicubik"}, ["bicubik", "'bicubic'"]),
        ({"--model": "text.png"}, ["text.png", "checkpoint"]),
        ({"--scale": "0"}, ["--scale", "above 0"]),
        ({"--scale": "two"}, ["--scale"]),
        ({"--scale": "1000000"}, ["pixels"]),
        ({"--size": "10x10"}, ["--size", "--scale"]),
        ({"--scale": None}, ["--scale", "--size"]),
        ({"--output": "o.nonsense"}, ["o.nonsense"]),
        ({"--fast": "maybe"}, ["--fast", "maybe"]),
        ({"--scal": "2"}, ["--scal"]),
        ({"--device": "tpu"}, ["tpu"]),
        ({"--device": "cuda:99"}, ["cuda:99"]),
        ({"--gpu": "first"}, ["--gpu"]),
    ],
)
def test_demo_mistakes(pictures, capsys, change, words) -> None:
    Path("text.png").write_text("just text")
    options = {"--input": str(pictures / "a.png"), "--output": "o.png", "--model": "bicubic", "--scale": "2", **change}
    line = mistake(capsys, demo, *(part for pair in options.items() if pair[1] is not None for part in pair))
    assert all(word in line for word in words)
    assert not Path("o.png").exists()


def test_pictures_are_never_written_over_their_folder(pictures, capsys) -> None:
    before = (pictures / "a.png").read_bytes()
    line = mistake(capsys, demo, "--input", pictures, "--output", pictures, "--model", "nearest", "--scale", 2)
    assert "overwritten" in line
    assert (pictures / "a.png").read_bytes() == before
