"""demo.py as users call it: what it writes, and one line for every mistake."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import demo
import models
from evaluation.painter import Painter
from models.checkpoints.loading import save_checkpoint
from models.lerf.tables import tabulated
from tests.commands import ROOT, call, mistake
from utils import cli
from utils.pictures.reading import read_rgb

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
    assert "(bfloat16), wrote sub/o.png" in out or "(float32), wrote sub/o.png" in out
    if not torch.cuda.is_available():
        assert "using the CPU" in out


@pytest.mark.parametrize("options", [("--scale", 2), ("--rotate", 20, "--background", "black")])
def test_demo_without_the_fast_path_gives_the_same_picture(pictures, checkpoint, options) -> None:
    for fast in ("True", "False"):
        call(
            demo,
            "--input",
            pictures / "a.png",
            "--output",
            f"{fast}.png",
            "--model",
            checkpoint,
            "--fast",
            fast,
            *options,
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
        ({"--cmsr-map": "m.png"}, ["--cmsr-map", "--cmsr"]),
        ({"--cmsr_from": "3"}, ["--cmsr-from", "--cmsr"]),
        ({"--cmsr_mse": "3"}, ["--cmsr-mse", "--cmsr"]),
        ({"--cmsr-report": ""}, ["--cmsr-report", "--cmsr"]),
        ({"--force": ""}, ["--force", "--cmsr"]),
        ({"--compare-at": "0,0,8,8"}, ["--compare-at", "--compare"]),
        ({"--compare_at": "0,0,8"}, ["X,Y,WIDTH,HEIGHT"]),
        ({"--compare-at": "0,0,0,8"}, ["X,Y,WIDTH,HEIGHT"]),
        ({"--compare": "", "--compare-at": "90,0,8,8"}, ["--compare-at", "96x128"]),
        ({"--rotate": "5", "--compare": ""}, ["--compare", "upright"]),
        ({"--cmsr": "", "--fast": "False"}, ["--fast"]),
        ({"--background": "red"}, ["--background", "o.png"]),
        ({"--suffix": "_x2"}, ["--suffix", "folder"]),
        ({"--format": "jpg"}, ["--format", "o.png"]),
        ({"--overwrite": "", "--skip-existing": ""}, ["--overwrite", "--skip-existing"]),
        ({"--scale": None, "--size": "10"}, ["1920x"]),
        ({"--scale": None, "--rotate": "5", "--size": "10x"}, ["--size", "both"]),
        ({"--scale": None, "--rotate": "5", "--fit": "10x10"}, ["--fit", "--size"]),
        ({"--scale": None, "--long_side": "0"}, ["--long-side"]),
        ({"--output": "o.ico"}, ["o.ico", "'.png'"]),
        ({"--scale": None, "--size": "65501x1", "--output": "o.jpg"}, ["o.jpg", "65500"]),
        ({"--scale": "260", "--output": "o.webp"}, ["o.webp", "16383"]),
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
    parts = (part for pair in options.items() if pair[1] is not None for part in pair)
    line = mistake(capsys, demo, *(part for part in parts if part))
    assert all(word in line for word in words)
    assert not Path("o.png").exists()


def test_pictures_are_never_written_over_their_folder(pictures, capsys) -> None:
    before = (pictures / "a.png").read_bytes()
    line = mistake(capsys, demo, "--input", pictures, "--output", pictures, "--model", "nearest", "--scale", 2)
    assert "overwritten" in line
    assert (pictures / "a.png").read_bytes() == before


def run(*options) -> None:
    """demo.py with the quickest model, enlarging by 2 unless another size is given."""
    sized = {"--scale", "--size", "--fit", "--fill", "--long-side", "--megapixels", "--rotate"} & set(map(str, options))
    call(demo, "--model", "nearest", *(() if sized else ("--scale", 2)), *options)


def test_nothing_is_overwritten_unasked(pictures, capsys) -> None:
    Path("output.png").write_text("mine")
    Path("sub").mkdir()
    for options in ((), ("--output", "output.png")):
        line = mistake(capsys, demo, "--input", pictures / "a.png", "--model", "nearest", "--scale", 2, *options)
        assert "output.png is there already; give --overwrite" in line
    run("--input", pictures / "a.png", "--skip-existing")
    assert Path("output.png").read_text() == "mine"
    run("--input", pictures / "a.png", "--overwrite")
    assert Image.open("output.png").size == (96, 128)
    Path("mask.png").write_text("mine")
    line = mistake(
        capsys, demo, "--input", pictures / "a.png", "--output", "t.png", "--rotate", 5, "--mask", "mask.png"
    )
    assert "mask.png is there already" in line


def test_results_of_a_folder_go_on_where_they_ended(pictures, capsys) -> None:
    run("--input", pictures, "--output", "out")
    first = {path.name: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    line = mistake(capsys, demo, "--input", pictures, "--output", "out", "--model", "nearest", "--scale", 2)
    assert "3 of 3 results are there already" in line
    Path("out/b.png").unlink()
    run("--input", pictures, "--output", "out", "--skip-existing")
    out = capsys.readouterr().out
    assert "2 of 3 results are there already" in out
    assert "wrote 1 pictures" in out
    now = {path.name: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    assert {name: time for name, time in now.items() if name != "b.png"} == {
        name: time for name, time in first.items() if name != "b.png"
    }


def test_a_tree_with_broken_pictures(pictures, capsys) -> None:
    broken = {"x/cut.png": (pictures / "a.png").read_bytes()[:200], "text.jpg": b"text", "x/y/empty.webp": b""}
    for name, content in broken.items():
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        (pictures / name).write_bytes(content)
    for number in range(10):
        (pictures / f"x/y/{number}.png").write_bytes((pictures / "a.png").read_bytes())
    with pytest.raises(SystemExit) as ended:
        run("--input", pictures, "--output", "out", "--suffix", "_x2", "--format", "jpg")
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert "wrote 13 pictures" in said.out
    first, *lines = [line for line in said.err.splitlines() if "pictures" in line and "|" not in line]
    assert first == "3 of 16 pictures failed:"
    assert [str(pictures / name) in line for name, line in zip(sorted(broken), sorted(lines), strict=True)] == [
        True
    ] * 3
    written = {str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()}
    assert written == {"a_x2.jpg", "b_x2.jpg", "c_x2.jpg", *(f"x/y/{n}_x2.jpg" for n in range(10))}


def test_too_large_for_the_memory(pictures, capsys, monkeypatch) -> None:
    monkeypatch.setattr("utils.memory.available_memory", lambda: 4 * 10**6)
    Image.new("RGB", (8, 8)).save(pictures / "small.png")
    with pytest.raises(SystemExit) as ended:
        run("--input", pictures, "--output", "out", "--scale", 12, "--format", "jpg")
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert "wrote 1 pictures" in said.out
    assert re.search(r"a\.png: an output of 576x768 needs about [\d.]+ MiB of memory", said.err)
    assert [path.name for path in Path("out").iterdir()] == ["small.jpg"]


def test_streams(pictures, monkeypatch) -> None:
    content = (pictures / "a.png").read_bytes()
    for options, form in (((), "PNG"), (("--format", "jpg"), "JPEG")):
        written = io.BytesIO()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written))
        run("--input", "-", *options)
        with Image.open(io.BytesIO(written.getvalue())) as made:
            assert (made.format, made.size) == (form, (96, 128))


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (("--size", "100x"), (100, 133)),
        (("--size", "x100"), (75, 100)),
        (("--fit", "100x100"), (75, 100)),
        (("--fill", "100x100"), (100, 100)),
        (("--long-side", 320), (240, 320)),
        (("--megapixels", 0.012), (95, 126)),
    ],
)
def test_sizes_in_proportion(pictures, capsys, options, size) -> None:
    run("--input", pictures / "a.png", "--output", "o.png", *options)
    assert Image.open("o.png").size == size
    assert "stretched" not in capsys.readouterr().out


def test_fill_shows_the_middle_and_stretching_is_said(pictures, capsys) -> None:
    run("--input", pictures / "a.png", "--output", "fill.png", "--fill", "96x64")
    expected = np.array(Image.open(pictures / "a.png")).repeat(2, 0).repeat(2, 1)[32:96]
    assert np.array_equal(np.array(Image.open("fill.png")), expected)
    run("--input", pictures / "a.png", "--output", "o.png", "--size", "500x10")
    assert "stretched: 10.4 times as wide, 0.156 times as high" in capsys.readouterr().out


def test_compare_writes_a_sheet_beside(pictures, capsys) -> None:
    run("--input", pictures, "--output", "out", "--compare")
    assert {path.name for path in Path("out").iterdir()} == {f"{n}{e}.png" for n in "abc" for e in ("", "_compare")}
    run("--input", pictures / "a.png", "--output", "o.jpg", "--compare", "--compare-at", "0,0,32,32", "10,20,32,16")
    options = ("--input", pictures / "a.png", "--output", "o.png", "--scale", 2, "--model", "nearest", "--compare")
    line = mistake(capsys, demo, *options)
    assert "o_compare.png is there already" in line
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


def test_ctrl_c_leaves_whole_files_and_says_what_is_done(pictures, capsys, monkeypatch) -> None:
    painted = Painter.paint

    def stop_at_c(self, job, picture):
        if job.source.name == "c.png":
            os.kill(os.getpid(), signal.SIGINT)
        return painted(self, job, picture)

    monkeypatch.setattr(Painter, "paint", stop_at_c)
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda _: run("--input", pictures, "--output", "out"))
    assert ended.value.code == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert "stopped by Ctrl-C after 1 of 3 pictures; --skip-existing goes on" in said
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "b.png"]
    assert all(read_rgb(path).size for path in Path("out").iterdir())


def program(*options) -> subprocess.Popen:
    """demo.py in a process of its own."""
    command = [sys.executable, ROOT / "demo.py", "--model", "nearest", "--scale", "4", *options]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process: subprocess.Popen) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.02)


def test_kills_leave_whole_files_only(pictures) -> None:
    for number in range(25):
        (pictures / f"{number}.png").write_bytes((pictures / "a.png").read_bytes())
    folder = Path("out")
    for moment, stop in ((2, signal.SIGTERM), (9, signal.SIGKILL)):
        process = program("--input", pictures, "--output", folder, "--skip-existing")
        wait_for(lambda moment=moment: folder.is_dir() and len(list(folder.glob("[!.]*"))) >= moment, process)
        process.send_signal(stop)
        said = process.communicate()[1]
        assert all(read_rgb(path).shape[2] == 3 for path in folder.glob("[!.]*"))
        if stop == signal.SIGTERM:
            assert not list(folder.glob(".*"))
            assert process.returncode == 128 + signal.SIGTERM
            assert "stopped by SIGTERM after" in said.splitlines()[-1]
    run("--input", pictures, "--output", folder, "--scale", 4, "--skip-existing")
    assert len(list(folder.glob("[!.]*"))) == 28


def test_ctrl_c_during_the_start_is_one_line(pictures) -> None:
    process = program("--input", pictures, "--output", "out")
    started = Path(f"/proc/{process.pid}/maps")
    if not started.exists():
        process.kill()
        pytest.skip("needs Linux")
    wait_for(lambda: "libtorch" in started.read_text(), process)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1].splitlines() == ["interrupted"]
    assert process.returncode == 130
    assert not Path("out").exists()


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


@pytest.mark.parametrize("options", [("--scale", "3"), ("--rotate", "20", "--scale", "2")])
@pytest.mark.parametrize("model", ["checkpoint", "catmull-rom", "lerf-g"])
def test_a_crop_is_that_part_of_the_whole_picture(pictures, checkpoint, model, options) -> None:
    model = {"checkpoint": checkpoint, "lerf-g": ROOT / "save/pretrained_models/lerf-g"}.get(model, model)
    common = ("--input", pictures / "a.png", "--model", model, *options)
    run(*common, "--output", "whole.png")
    run(*common, "--output", "part.png", "--crop", "30,25,41,17")
    part, whole = (np.array(Image.open(name).convert("RGBA")) for name in ("part.png", "whole.png"))
    assert np.array_equal(part, whole[25:42, 30:71])


def test_impossible_crops(pictures, capsys) -> None:
    common = ("--input", pictures / "a.png", "--output", "o.png", "--model", "bicubic", "--scale", "2")
    assert "not within 96x128" in mistake(capsys, demo, *common, "--crop", "90,0,10,10")
    assert "--compare" in mistake(capsys, demo, *common, "--crop", "0,0,10,10", "--compare")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_stream_onto_a_full_disk_is_one_line(pictures) -> None:
    command = [
        sys.executable,
        "demo.py",
        "--input",
        pictures / "a.png",
        "--scale",
        "2",
        "--model",
        "nearest",
        "--output",
        "-",
    ]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "standard output" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", [("--scale", 2), ("--rotate", 20)])
def test_ensemble_is_the_mean_of_eight_orientations(pictures, checkpoint, capsys, options) -> None:
    for name, extra in (("one.png", ()), ("mean.png", ("--ensemble",))):
        call(demo, "--input", pictures / "a.png", "--output", name, "--model", checkpoint, *options, *extra)
    difference = np.array(Image.open("one.png")).astype(int) - np.array(Image.open("mean.png"))
    assert 0 < abs(difference).max() < 60
    both = ("--model", checkpoint, "--scale", 2, "--ensemble", "--cmsr")
    assert "exclude each other" in mistake(capsys, demo, "--input", pictures / "a.png", "--output", "c.png", *both)


def test_an_output_that_nobody_reads_is_one_line(pictures) -> None:
    command = [sys.executable, ROOT / "demo.py", "--input", pictures / "a.png", "--scale", "2", "--model", "bicubic"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([*command, "--output", "-"], stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("cannot write standard output: what reads it has ended")
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


def test_a_suffix_names_no_folder(pictures, capsys) -> None:
    options = ("--output", "out/", "--scale", 2, "--model", "bicubic")
    for suffix in ("/../x", "a/b"):
        assert "--suffix" in mistake(capsys, demo, "--input", pictures, *options, "--suffix", suffix)
    assert not Path("out").exists()
