"""demo.py as users call it: what it writes, and one line for every mistake."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import demo
import models
from models.checkpoints.loading import save_checkpoint
from models.lerf.tables import tabulated
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
    with pytest.raises(SystemExit) as ended:
        call(demo, "--input", pictures, "--output", "out", "--model", "bicubic", "--scale", 2)
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert "wrote 2 pictures" in said.out
    assert "1 of 3 pictures failed:" in said.err
    assert str(pictures / "b.png") in said.err
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
        ({"--rotate": "10", "--mask": "o.png"}, ["--mask", "different"]),
        ({"--rotate": "10", "--background": "rgb(300,0,0)"}, ["rgb(300,0,0)"]),
        ({"--scale": "1e308"}, ["pixels"]),
        ({"--scale": "1e308", "--rotate": "10"}, ["pixels"]),
        ({"--model": "text.pth"}, ["text.pth", "checkpoint"]),
    ],
)
def test_demo_mistakes(pictures, capsys, change, words) -> None:
    Path("text.png").write_text("just text")
    Path("text.pth").write_text("junk")
    options = {"--input": str(pictures / "a.png"), "--output": "o.png", "--model": "bicubic", "--scale": "2", **change}
    line = mistake(capsys, demo, *(part for pair in options.items() if pair[1] is not None for part in pair))
    assert all(word in line for word in words)
    assert not Path("o.png").exists()


def test_pictures_are_never_written_over_their_folder(pictures, capsys) -> None:
    before = (pictures / "a.png").read_bytes()
    line = mistake(capsys, demo, "--input", pictures, "--output", pictures, "--model", "nearest", "--scale", 2)
    assert "overwritten" in line
    assert (pictures / "a.png").read_bytes() == before


SMALL_LERF = {"name": "lerf-g", "args": {"nf": 4}}


@pytest.fixture(params=["lerf-g", "lerf-lut", "lmliif", "bicubic"])
def model(request, checkpoint) -> str:
    """A model of every kind, as --model takes it."""
    torch.manual_seed(0)
    if request.param == "lmliif":
        return str(checkpoint)
    if request.param == "bicubic":
        return "bicubic"
    network = models.make(SMALL_LERF)
    made = network if request.param == "lerf-g" else tabulated(network)
    arguments = SMALL_LERF["args"] if request.param == "lerf-g" else made.arguments()
    save_checkpoint("m.pth", {"model": {"name": request.param, "args": arguments, "sd": made.state_dict()}})
    return "m.pth"


@pytest.mark.parametrize("kind", ["grey", "rgba", "1x1", "2x2"])
@pytest.mark.parametrize("options", [("--scale", 3), ("--scale", 1), ("--scale", 0.5), ("--rotate", 90)])
def test_pictures_of_every_kind(pictures, model, kind, options) -> None:
    picture = Image.open(pictures / "a.png")
    picture = picture.convert({"grey": "L", "rgba": "RGBA"}.get(kind, "RGB"))
    if "x" in kind:
        picture = picture.crop((0, 0, int(kind[0]), int(kind[0])))
    picture.save("in.png")
    call(demo, "--input", "in.png", "--output", "o.png", "--model", model, *options)
    output = Image.open("o.png")
    expected = picture.size[::-1] if options[0] == "--rotate" else [max(1, round(n * options[1])) for n in picture.size]
    assert list(output.size) == list(expected)
    assert output.mode == picture.mode


def test_warps_leave_transparency_or_a_colour_outside(pictures, model) -> None:
    shared_options = ("--input", pictures / "a.png", "--model", model, "--rotate", 30)
    call(demo, *shared_options, "--output", "clear.png", "--mask", "mask.png")
    call(demo, *shared_options, "--output", "red.jpg", "--background", "#ff0000")
    call(demo, *shared_options, "--output", "red.png", "--background", "red")
    clear, red, mask = (np.array(Image.open(name)) for name in ("clear.png", "red.png", "mask.png"))
    assert np.array_equal(clear[..., 3], mask)
    assert 0.4 < (mask == 255).mean() < 0.8
    assert (red[mask == 0] == (255, 0, 0)).all()
    assert np.array_equal(red[mask == 255], clear[mask == 255][:, :3])
    assert Image.open("red.jpg").size == (red.shape[1], red.shape[0])


def test_homographies_of_files_and_text_are_the_same(pictures) -> None:
    Path("m.txt").write_text("2 0 0.5\n0 2 0.5\n0 0 1\n")
    for name, options in {
        "scaled.png": ("--scale", 2),
        "file.png": ("--homography", "m.txt", "--size", "96x128"),
        "text.png": ("--homography", "2,0,0.5, 0,2,0.5, 0,0,1", "--size", "96x128"),
        "part.png": ("--homography", "m.txt"),
        "mirror.png": ("--homography", "-2,0,94.5, 0,2,0.5, 0,0,1", "--size", "96x128"),
    }.items():
        call(demo, "--input", pictures / "a.png", "--output", name, "--model", "bicubic", *options)
    scaled, file, text, part, mirror = (
        np.array(Image.open(f"{n}.png")) for n in ("scaled", "file", "text", "part", "mirror")
    )
    assert abs(mirror[:, ::-1].astype(int) - file).max() <= 1
    assert np.array_equal(file, text)
    assert abs(file.astype(int) - scaled).max() <= 1
    assert np.array_equal(part, file[:64, :48])


def test_lerf_net_on_an_upsampler(pictures) -> None:
    torch.manual_seed(0)
    spec = {"name": "lerf-net", "args": {"nf": 8}}
    save_checkpoint("net.pth", {"model": {**spec, "sd": models.make(spec).state_dict()}})
    options = ("--input", pictures / "a.png", "--model", "net.pth", "--scale", 3)
    call(demo, *options, "--output", "net.png")
    call(demo, *options, "--output", "plus.png", "--upsampler", "catmull-rom")
    net, plus = (np.array(Image.open(name)) for name in ("net.png", "plus.png"))
    assert net.shape == plus.shape == (192, 144, 3)
    assert not np.array_equal(net, plus)
