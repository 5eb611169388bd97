"""One line of demo.py for every mistake, and nothing written."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

import demo
from painting.request import Request
from tests.commands import ROOT, mistake

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--input": "nothere.png"}, ["nothere.png"]),
        ({"--input": "text.png"}, ["text.png"]),
        ({"--model": "nothere.pth"}, ["nothere.pth"]),
        ({"--model": "bicubik"}, ["bicubik", "'bicubic'"]),
        ({"--scale": "0"}, ["--scale", "above 0"]),
        ({"--size": "10x10"}, ["--size", "--scale"]),
        ({"--scale": None}, ["--scale", "--size"]),
        ({"--output": "o.nonsense"}, ["o.nonsense"]),
        ({"--scal": "2"}, ["--scal"]),
        ({"--device": "tpu"}, ["tpu"]),
        ({"--device": "cuda:99"}, ["cuda:99"]),
        ({"--backend": "cuda"}, ["--backend", "cuda"]),
        ({"--upsampler": "bilinear"}, ["lerf-net", "Bicubic"]),
        ({"--homography": "1,0,0,0,1,0,0,0"}, ["--homography", "--scale"]),
        ({"--scale": None, "--homography": "1,0,0,0,1,0,0,0"}, ["1,0,0,0,1,0,0,0", "nine", "8"]),
        ({"--scale": None, "--homography": "1,2,3,2,4,6,0,0,1"}, ["1,2,3,2,4,6,0,0,1", "singular"]),
        ({"--scale": None, "--homography": "nothere.txt"}, ["nothere.txt"]),
        ({"--rotate": "10", "--homography": "nothere.txt"}, ["--homography", "--rotate"]),
        ({"--rotate": "much"}, ["--rotate"]),
        ({"--rotate": "inf"}, ["--rotate"]),
        ({"--rotate": "10", "--background": "blackish"}, ["blackish", "#rrggbb"]),
        ({"--rotate": "10", "--output": "o.jpg"}, ["o.jpg", "--background"]),
        ({"--rotate": "10", "--cmsr": "True"}, ["--cmsr"]),
        ({"--mask": "m.png"}, ["--mask", "--rotate"]),
        ({"--cmsr-map": "m.png"}, ["--cmsr-map", "--cmsr"]),
        ({"--cmsr_from": "3"}, ["--cmsr-from", "--cmsr"]),
        ({"--cmsr-report": ""}, ["--cmsr-report", "--cmsr"]),
        ({"--force": ""}, ["--force", "--cmsr"]),
        ({"--compare-at": "0,0,8,8"}, ["--compare-at", "--compare"]),
        ({"--compare_at": "0,0,8"}, ["X,Y,WIDTH,HEIGHT"]),
        ({"--compare-at": "0,0,0,8"}, ["X,Y,WIDTH,HEIGHT"]),
        ({"--compare": "", "--compare-at": "90,0,8,8"}, ["--compare-at", "96x128"]),
        ({"--rotate": "5", "--compare": ""}, ["--compare", "upright"]),
        ({"--output": "-", "--compare": ""}, ["--compare", "file"]),
        ({"--cmsr": "", "--fast": "False"}, ["--fast"]),
        ({"--background": "red"}, ["--background", "o.png"]),
        ({"--suffix": "_x2"}, ["--suffix", "folder"]),
        ({"--format": "jpg"}, ["--format", "o.png"]),
        ({"--scale": None, "--size": "10x20x30"}, ["1920x"]),
        ({"--quality": "50"}, ["--quality", "PNG"]),
        ({"--quality": "0", "--output": "o.jpg"}, ["--quality", "1 to 100"]),
        ({"--model": "Lanczos"}, ["did you mean 'lanczos'"]),
        ({"--scale": None, "--rotate": "5", "--size": "10x"}, ["--size", "both"]),
        ({"--scale": None, "--rotate": "5", "--fit": "10x10"}, ["--fit", "--size"]),
        ({"--output": "o.ico"}, ["o.ico", ".png"]),
        ({"--scale": None, "--size": "65501x1", "--output": "o.jpg"}, ["o.jpg", "65500"]),
        ({"--scale": "260", "--output": "o.webp"}, ["o.webp", "16383"]),
        ({"--rotate": "10", "--mask": "o.png"}, ["--mask", "different"]),
        ({"--scale": "1e308"}, ["pixels"]),
        ({"--scale": "1e308", "--rotate": "10"}, ["pixels"]),
        ({"--model": "text.pth"}, ["text.pth", "checkpoint"]),
        ({"--crop": "90,0,10,10"}, ["not within 96x128"]),
        ({"--crop": "0,0,10,10", "--compare": ""}, ["--compare"]),
        ({"--suffix": "a/b"}, ["--suffix", "folder"]),
    ],
)
def test_demo_mistakes(pictures, capsys, change, words) -> None:
    Path("text.png").write_text("just text")
    Path("text.pth").write_text("junk")
    options = {"--input": str(pictures / "a.png"), "--output": "o.png", "--model": "bicubic", "--scale": "2", **change}
    parts = (part for pair in options.items() if pair[1] is not None for part in pair)
    line = mistake(capsys, demo, *(part for part in parts if part))
    assert all(word in line for word in words)
    assert not Path("o.png").exists()


def test_every_option_takes_effect() -> None:
    """Outside of its declaration and of the list of what LUTs do."""
    text = "".join(path.read_text() for path in [ROOT / "demo.py", *(ROOT / "painting").glob("*.py")])
    for each in fields(Request):
        assert re.search(rf"(request|self)\.{each.name}\b", text), each.name
