"""demo.py as users call it: the pictures it makes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import demo
import models
from models.checkpoints.loading import save_checkpoint
from tests.commands import ROOT, call, mistake
from tests.demos import run
from tests.pairs import paired

pytestmark = pytest.mark.usefixtures("empty_folder")


def opened(*names: str) -> list[np.ndarray]:
    return [np.array(Image.open(name)) for name in names]


def test_the_published_options_and_what_is_said(pictures, checkpoint, capsys) -> None:
    options = ("--model", checkpoint, "--gpu", "0", "--fast", "True", "--scale", "2.5")
    call(demo, "--input", pictures / "a.png", "--output", "sub/o.png", *options)
    assert Image.open("sub/o.png").size == (120, 160)
    out = capsys.readouterr().out
    assert "48x64 -> 120x160" in out
    assert "(bfloat16), wrote sub/o.png" in out or "(float32), wrote sub/o.png" in out
    if not torch.cuda.is_available():
        assert "using the CPU" in out


@pytest.mark.parametrize("options", [("--scale", 2), ("--rotate", 20, "--background", "black")])
def test_demo_without_the_fast_path_gives_the_same_picture(pictures, checkpoint, options) -> None:
    for fast in ("True", "False"):
        common = ("--input", pictures / "a.png", "--model", checkpoint, "--fast", fast)
        call(demo, *common, "--output", f"{fast}.png", *options)
    fast, slow = opened("True.png", "False.png")
    assert abs(fast.astype(int) - slow).max() <= 1


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (("--size", "100x"), (100, 133)), (("--size", "x100"), (75, 100)), (("--fit", "100x100"), (75, 100)),
        (("--fill", "100x100"), (100, 100)), (("--long-side", 320), (240, 320)), (("--megapixels", 0.012), (95, 126)),
        (("--scale", "2x"), (96, 128)), (("--scale", "200%"), (96, 128)), (("--size", "96"), (96, 128)),
        (("--scale", "3x1.5"), (72, 192)), (("--size", "100x31"), (100, 31)),
    ],
)  # fmt: skip
def test_sizes(pictures, capsys, options, size) -> None:
    run("--input", pictures / "a.png", "--output", "o.png", *options)
    assert Image.open("o.png").size == size
    assert ("stretched" in capsys.readouterr().out) == (size == (100, 31))


def test_fill_shows_the_middle_and_stretching_is_said(pictures, capsys) -> None:
    run("--input", pictures / "a.png", "--output", "fill.png", "--fill", "96x64")
    given, filled = opened(pictures / "a.png", "fill.png")
    assert np.array_equal(filled, given.repeat(2, 0).repeat(2, 1)[32:96])
    run("--input", pictures / "a.png", "--output", "o.png", "--size", "500x10")
    assert "stretched: 10.4 times as wide, 0.156 times as high" in capsys.readouterr().out


def test_compare_writes_a_sheet_beside(pictures, capsys) -> None:
    run("--input", pictures, "--output", "out", "--compare")
    assert {path.name for path in Path("out").iterdir()} == {f"{n}{e}.png" for n in "abc" for e in ("", "_compare")}
    run("--input", pictures / "a.png", "--output", "o.jpg", "--compare", "--compare-at", "0,0,32,32", "10,20,32,16")
    options = ("--input", pictures / "a.png", "--output", "o.png", "--scale", 2, "--model", "nearest", "--compare")
    assert "o_compare.png is there already" in mistake(capsys, demo, *options)
    small, large = Image.open("o_compare.png"), Image.open("out/a_compare.png")
    assert small.width == large.width or small.height != large.height


def test_weights_and_tables_are_found_from_anywhere(pictures, checkpoint, monkeypatch, capsys) -> None:
    project = Path("project").resolve()
    files = {"w/small.pth": checkpoint.read_bytes(), "configs/cmsr/result/small.yaml": b"{6: {6: 1}}"}
    for name, content in files.items():
        (project / name).parent.mkdir(parents=True)
        (project / name).write_bytes(content)
    monkeypatch.setattr("utils.files.PROJECT", project)
    options = ("--input", pictures / "a.png", "--output", "o.png", "--scale", 2, "--cmsr")
    call(demo, *options, "--model", "w/small.pth")
    assert Image.open("o.png").size == (96, 128)
    assert "w/nothere.pth" in mistake(capsys, demo, *options, "--overwrite", "--model", "w/nothere.pth")


MODELS = ["lerf-g", "lerf-l", "lmliif", "bicubic"]


@pytest.fixture(params=MODELS)
def model(request, checkpoint) -> str:
    """A model of every kind, as --model takes it; LeRF-G as a network."""
    if request.param == "lerf-g":
        torch.manual_seed(0)
        spec = {"name": "lerf-g", "args": {"nf": 4}}
        save_checkpoint("m.pth", {"model": {**spec, "sd": models.make(spec).state_dict()}})
    return {"lerf-g": "m.pth", "lmliif": str(checkpoint)}.get(request.param, request.param)


@pytest.mark.parametrize(
    ("model", "kind", "options"),
    paired(
        MODELS, ["grey", "rgba", "1x1", "2x2"], [("--scale", 3), ("--scale", 1), ("--scale", 0.5), ("--rotate", 90)]
    ),
    indirect=["model"],
)
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


@pytest.mark.parametrize("model", ["lerf-l", "lmliif"], indirect=True)
def test_warps_leave_transparency_or_a_colour_outside(pictures, model) -> None:
    options = ("--input", pictures / "a.png", "--model", model, "--rotate", 30)
    call(demo, *options, "--output", "clear.png", "--mask", "mask.png")
    call(demo, *options, "--output", "red.jpg", "--background", "#ff0000")
    call(demo, *options, "--output", "red.png", "--background", "red")
    call(demo, *options, "--output", "part.png", "--crop", "5,2,30,40")
    clear, red, mask, part = opened("clear.png", "red.png", "mask.png", "part.png")
    assert np.array_equal(part, clear[2:42, 5:35])
    assert np.array_equal(clear[..., 3], mask)
    assert 0.4 < (mask == 255).mean() < 0.8
    assert (red[mask == 0] == (255, 0, 0)).all()
    assert abs(red[mask == 255].astype(int) - clear[mask == 255][:, :3]).max() <= 1
    assert len(np.unique(mask)) > 20  # edges are covered by parts
    assert Image.open("red.jpg").size == (red.shape[1], red.shape[0])


def test_homographies_of_files_and_text_are_the_same(pictures) -> None:
    Path("m.txt").write_text("2 0 0.5\n0 2 0.5\n0 0 1\n")
    ways = {
        "scaled.png": ("--scale", 2),
        "file.png": ("--homography", "m.txt", "--size", "96x128"),
        "text.png": ("--homography", "2,0,0.5, 0,2,0.5, 0,0,1", "--size", "96x128"),
        "part.png": ("--homography", "m.txt"),
        "mirror.png": ("--homography", "-2,0,94.5, 0,2,0.5, 0,0,1", "--size", "96x128"),
    }
    for name, options in ways.items():
        call(demo, "--input", pictures / "a.png", "--output", name, "--model", "bicubic", *options)
    scaled, file, text, part, mirror = opened(*ways)
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
    net, plus = opened("net.png", "plus.png")
    assert net.shape == plus.shape == (192, 144, 3)
    assert not np.array_equal(net, plus)


def test_ensemble_is_the_mean_of_eight_orientations(pictures, checkpoint) -> None:
    for name, extra in (("one.png", ()), ("mean.png", ("--ensemble",))):
        common = ("--input", pictures / "a.png", "--output", name, "--model", checkpoint)
        call(demo, *common, "--rotate", 20, *extra)
    one, mean = opened("one.png", "mean.png")
    assert 0 < abs(one.astype(int) - mean).max() < 60


def test_the_default_model_is_one_that_cmsr_takes_where_it_is_asked_for(pictures, capsys) -> None:
    options = ("--input", pictures / "a.png", "--output", "o.png", "--scale", 6)
    for given, expected in (((), "subpixel-s"), (("--cmsr", "--overwrite"), "s")):
        call(demo, *options, *given)
        made = Path("o.png").read_bytes()
        call(demo, *options, *given, "--overwrite", "--model", expected)
        assert Path("o.png").read_bytes() == made


@pytest.mark.parametrize(
    ("model", "form", "said"), [("s", "png", True), ("subpixel-s", "jpg", True), ("nearest", "png", False)]
)
def test_a_hint_names_a_better_model(pictures, capsys, model, form, said) -> None:
    few = Image.open(pictures / "a.png").convert("RGB").quantize(5 if form == "png" else 256).convert("RGB")
    few.save(f"in.{form}", **({"quality": 60} if form == "jpg" else {}))
    call(demo, "--input", f"in.{form}", "--output", "o.png", "--scale", 2, "--model", model)
    words = "--model nearest" if form == "png" else "--model photo-s"
    assert (words in capsys.readouterr().out) == said


def test_quality_and_compression(pictures) -> None:
    def size(name: str, *options: object) -> int:
        call(demo, "--input", pictures / "a.png", "--output", name, "--scale", 4, "--model", "lanczos", *options)
        return Path(name).stat().st_size

    assert size("a.jpg", "--quality", 95) == size("b.jpg") > size("c.jpg", "--quality", 40)
    assert size("a.webp") > size("b.webp", "--quality", 40)
    assert size("0.png", "--compression", 0) > size("1.png", "--compression", 1) > size("9.png", "--compression", 9)


def test_16_bits_are_computed_in_float32(capsys) -> None:
    """bfloat16 has fewer levels: a ramp would fall."""
    ramp = np.linspace(9000, 9600, 128).round().astype(np.uint16)[None].repeat(32, 0)
    Image.fromarray(ramp).save("in.png")
    call(demo, "--input", "in.png", "--output", "o.png", "--scale", 2)
    assert "(float32)" in capsys.readouterr().out
    call(demo, "--input", "in.png", "--output", "exact.png", "--scale", 2, "--precision", "float32")
    assert Path("o.png").read_bytes() == Path("exact.png").read_bytes()


# Counts in a process of its own what is called once all is imported; what imports run counts for nothing
COUNTING = """
import sys, threading
import demo
root, passed = sys.argv.pop(1), set()
def watch(frame, event, _):
    file, name = frame.f_code.co_filename, frame.f_code.co_qualname
    if event != "call" or not file.startswith(root) or "site-packages" in file or "<" in name.split(".")[-1]:
        return
    outer = frame
    while outer := outer.f_back:
        if "importlib" in outer.f_code.co_filename:
            return
    passed.add((file, name))
threading.setprofile(watch)
sys.setprofile(watch)
demo.main(sys.argv[1:])
sys.setprofile(None)
print(len({file for file, _ in passed}), len(passed))
"""


def test_a_picture_passes_few_files_and_functions(tmp_path) -> None:
    """How much of the project one has to read to follow it."""
    options = ("--input", "load/samples/chelsea.png", "--scale", "2", "--output", str(tmp_path / "o.png"))
    command = [sys.executable, "-c", COUNTING, str(ROOT), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files, functions = map(int, done.stdout.split()[-2:])
    assert files <= 52
    assert functions <= 345
