"""What demo.py reads and writes: folders, streams, results that are there already, and interrupted work."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

import demo
from models.checkpoints.loading import save_checkpoint
from painting.painter import Painter
from pictures import writing
from pictures.picture import Picture
from pictures.reading import read_rgb
from pictures.writing import write_picture
from tests.commands import ROOT, call, mistake
from tests.demos import run
from tests.pictures.making import noise
from tests.registered import small_model
from tests.several import ended, fork
from utils import cli
from utils.system import settle_threads

pytestmark = pytest.mark.usefixtures("empty_folder")


def test_nothing_is_overwritten_unasked(pictures, capsys) -> None:
    Path("output.png").write_text("mine")
    line = mistake(capsys, demo, "--input", pictures / "a.png", "--model", "nearest", "--scale", 2)
    assert "output.png is there already; give --overwrite" in line
    run("--input", pictures / "a.png", "--skip-existing")
    assert Path("output.png").read_text() == "mine"
    run("--input", pictures / "a.png", "--overwrite")
    assert Image.open("output.png").size == (96, 128)
    Path("mask.png").write_text("mine")
    options = ("--input", pictures / "a.png", "--output", "t.png", "--rotate", 5, "--mask", "mask.png")
    assert "mask.png is there already" in mistake(capsys, demo, *options)


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
    assert [name for name in first if first[name] != now[name]] == ["b.png"]


def test_a_tree_with_broken_pictures(pictures, capsys) -> None:
    broken = {"x/cut.png": (pictures / "a.png").read_bytes()[:200], "text.jpg": b"text", "x/y/empty.webp": b""}
    for name, content in broken.items():
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        (pictures / name).write_bytes(content)
    for number in range(10):
        (pictures / f"x/y/{number}.png").write_bytes((pictures / "a.png").read_bytes())
    with pytest.raises(SystemExit) as stopped:
        run("--input", pictures, "--output", "out", "--suffix", "_x2", "--format", "jpg")
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert "wrote 13 pictures" in said.out
    first, *lines = [line for line in said.err.splitlines() if "pictures" in line and "|" not in line]
    assert first == "3 of 16 pictures failed:"
    assert all(str(pictures / name) in line for name, line in zip(sorted(broken), sorted(lines), strict=True))
    written = {str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()}
    assert written == {"a_x2.jpg", "b_x2.jpg", "c_x2.jpg", *(f"x/y/{n}_x2.jpg" for n in range(10))}


def test_streams(pictures, monkeypatch) -> None:
    content = (pictures / "a.png").read_bytes()
    for options, form in (((), "PNG"), (("--format", "jpg"), "JPEG")):
        written = io.BytesIO()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written))
        run("--input", "-", *options)
        with Image.open(io.BytesIO(written.getvalue())) as made:
            assert (made.format, made.size) == (form, (96, 128))


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_stream_onto_a_full_disk_is_one_line(pictures) -> None:
    def prepare() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)

    said = Path("said.txt")
    options = ("--input", pictures / "a.png", "--scale", "2", "--model", "nearest", "--output", "-")
    assert ended(fork(demo, options, said, prepare)) == 2
    assert "standard output" in said.read_text().splitlines()[-1]
    assert "Traceback" not in said.read_text()


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


def test_ctrl_c_leaves_whole_files_and_says_what_is_done(pictures, capsys, monkeypatch) -> None:
    painted = Painter.paint

    def stop_at_c(self, job, picture):
        if job.source.name == "c.png":
            os.kill(os.getpid(), signal.SIGINT)
        return painted(self, job, picture)

    monkeypatch.setattr(Painter, "paint", stop_at_c)
    with pytest.raises(SystemExit) as stopped:
        cli.run(lambda _: run("--input", pictures, "--output", "out"))
    assert stopped.value.code == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert "stopped by Ctrl-C after 1 of 3 pictures; --skip-existing goes on" in said
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "b.png"]
    assert all(read_rgb(path).size for path in Path("out").iterdir())


def send_itself(stop: int, number: int) -> None:
    """Makes this process send itself a signal when so many pictures are written but for half of the last one."""
    begun, encode = [], writing.encode

    def encode_and_stop(stream, path, *arguments):
        content = io.BytesIO()
        lost = encode(content, path, *arguments)
        half = content.tell() // 2
        stream.write(content.getvalue()[:half])
        stream.flush()
        begun.append(path)
        if len(begun) == number:
            os.kill(os.getpid(), stop)
        stream.write(content.getvalue()[half:])
        return lost

    writing.encode = encode_and_stop


def test_kills_leave_whole_files_only(pictures) -> None:
    for number in range(5):
        (pictures / f"{number}.png").write_bytes((pictures / "a.png").read_bytes())
    folder, said = Path("out"), Path("said.txt")
    options = ("--model", "nearest", "--scale", 4, "--input", pictures, "--output", folder, "--skip-existing")
    for stop in (signal.SIGTERM, signal.SIGKILL):
        status = ended(fork(demo, options, said, partial(send_itself, stop, 3)))
        assert all(read_rgb(path).shape[2] == 3 for path in folder.glob("[!.]*"))
        if stop == signal.SIGTERM:
            assert not list(folder.glob(".*"))
            assert status == 128 + signal.SIGTERM
            assert "stopped by SIGTERM after" in said.read_text().splitlines()[-1]
        else:
            assert status == -signal.SIGKILL
            assert list(folder.glob(".*")), "half a picture"
    call(demo, *options)
    assert len(list(folder.glob("[!.]*"))) == 8


def test_ctrl_c_during_the_start_is_one_line(pictures) -> None:
    """While PyTorch is imported, by a process that sends it to itself."""
    program = (
        "import os, signal, sys, demo; from utils import cli;"
        "sys.addaudithook(lambda event, given: event == 'import' and given[0] == 'torch.nn'"
        " and os.kill(os.getpid(), signal.SIGINT)); cli.run(demo.main)"
    )
    options = ("--model", "nearest", "--scale", "4", "--input", pictures, "--output", Path("out").resolve())
    done = subprocess.run([sys.executable, "-c", program, *options], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
    assert not Path("out").exists()


def test_shards_give_the_files_of_one_run_and_say_what_they_made() -> None:
    for number in range(9):
        write_picture(f"in/{number}.png", Picture(noise(8 + number, 9, 3), "RGB"))
    Path("in/9.png").write_text("broken")
    options = ("--input", "in", "--scale", 2, "--model", "bicubic")
    with pytest.raises(SystemExit):
        call(demo, *options, "--output", "whole")

    def entries(*more: str) -> list[dict]:
        for part in (1, 2, 3):
            with suppress(SystemExit):
                call(demo, *options, "--output", "parts", "--shard", f"{part}/3", *more)
        return [json.loads(line) for path in Path("parts").glob("*.jsonl") for line in path.read_text().splitlines()]

    first = entries()
    for path in Path("whole").glob("*.png"):
        assert path.read_bytes() == Path("parts", path.name).read_bytes()
    assert [entry["input"] for entry in first if "error" in entry] == ["in/9.png"]
    assert len(first) == 10
    for entry in first:
        if "sha256" in entry:
            assert hashlib.sha256(Path(entry["output"]).read_bytes()).hexdigest() == entry["sha256"]
    write_picture("in/9.png", Picture(noise(8, 9, 3), "RGB"))
    assert len(entries("--skip-existing")) == 11  # only what had failed was made


def test_names_never_command_a_terminal(pictures, capsys) -> None:
    name = "a\x1b[31m.png"
    (pictures / "a.png").rename(name)
    call(demo, "--input", name, "--output", "out/", "--model", "nearest", "--scale", 2)
    said = capsys.readouterr()
    line = mistake(capsys, demo, "--input", f"no{name}", "--model", "nearest", "--scale", 2)
    assert "\x1b" not in said.out + said.err + line
    assert r"a\x1b[31m.png" in line


def test_names_that_a_locale_cannot_write(pictures) -> None:
    os.rename(bytes(pictures / "a.png"), b"\xc3\xa9\xff.png")
    options = ("--input", ".", "--output", "out", "--model", "nearest", "--scale", "2")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, ROOT / "demo.py", *options], capture_output=True, env=environment)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert b"\xc3\xa9\xff.png" in os.listdir(b"out")


def test_threads_are_no_more_than_are_of_use(pictures) -> None:
    before = torch.get_num_threads()
    try:
        run("--input", pictures / "a.png", "--threads", 50_000, "--backend", "torch")
        assert torch.get_num_threads() <= max(64, 2 * os.cpu_count())
    finally:
        settle_threads(before)


def test_values_that_are_not_finite_are_refused(pictures, capsys) -> None:
    content = small_model()
    content["sd"]["imnet.layers.0.weight"].fill_(3e38)
    save_checkpoint("bad.pth", {"model": content})
    line = mistake(capsys, demo, "--input", pictures / "a.png", "--output", "o.png", "--scale", 2, "--model", "bad.pth")
    assert "finite" in line
    assert "bad.pth" in line
    assert not Path("o.png").exists()
