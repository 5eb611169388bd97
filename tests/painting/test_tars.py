"""Tars of WebDataset through demo.py: pictures larger, all else and the keys as they were."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import demo
from tests.commands import call, mistake
from tests.pictures.making import noise
from utils import cli

pytestmark = pytest.mark.usefixtures("empty_folder")
TWICE = ("--model", "nearest", "--scale", 2)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def make(path: str, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as made:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), 7
            made.addfile(entry, io.BytesIO(content))


def content_of(path: str) -> dict[str, bytes]:
    with tarfile.open(path) as given:
        return {entry.name: given.extractfile(entry).read() for entry in given}


def test_keys_and_other_files_are_kept() -> None:
    pictures = [noise(5 + number, 7, 3) for number in range(4)]
    for shard in range(2):
        samples = {}
        for number in (2 * shard, 2 * shard + 1):
            key = f"d.1/{number}"
            samples |= {f"{key}.png": png(pictures[number]), f"{key}.mask.png": b"as it is", f"{key}.cls": b"3"}
        make(f"{shard:02}.tar", samples)
    call(demo, "--input", "{00..01}.tar", "--output", "out", "--format", "tif", *TWICE)
    for shard in range(2):
        before, after = content_of(f"{shard:02}.tar"), content_of(f"out/{shard:02}.tar")
        assert [*after] == [name if "mask" in name else name.replace(".png", ".tif") for name in before]
        for name, content in after.items():
            if name.endswith(".tif"):
                picture = pictures[int(name[4])]
                assert np.array_equal(Image.open(io.BytesIO(content)), picture.repeat(2, 0).repeat(2, 1))
            else:
                assert content == before[name]
    parts = [Path("parts", f"0{shard}.tar") for shard in range(2)]
    for part in (1, 2):
        call(demo, "--input", "*.tar", "--output", "parts", "--format", "tif", "--shard", f"{part}/2", *TWICE)
    assert [part.read_bytes() for part in parts] == [Path("out", part.name).read_bytes() for part in parts]


def test_a_broken_picture_takes_its_sample_alone(capsys) -> None:
    whole = png(noise(4, 4, 3))
    make("in.tar", {"a.cls": b"1", "a.jpg": b"broken", "a.json": b"{}", "b.jpg": whole, "b.cls": b"2"})
    assert "1 of 2 samples left out: in.tar/a.jpg" in mistake(capsys, demo, "--input", "in.tar", *TWICE)
    assert [*content_of("output.tar")] == ["b.png", "b.cls"]
    with pytest.raises(SystemExit):
        cli.run(lambda _: call(demo, "--input", "in.tar", "--output", "o/", "--shard", "1/1", *TWICE))
    assert "samples left out" in json.loads(Path("o/manifest-1-of-1.jsonl").read_text())["error"]


@pytest.mark.parametrize("damage", ["text", "cut", "header", "empty"])
def test_damaged_tars_are_one_line(capsys, damage) -> None:
    make("in.tar", {f"{number}.png": png(noise(9, 9, 3)) for number in range(3)})
    content = bytearray(Path("in.tar").read_bytes())
    size = 512 + -(-len(png(noise(9, 9, 3))) // 512) * 512  # of an entry
    content[size : size + 9] = b"\xff" * 9 if damage == "header" else content[size : size + 9]
    Path("in.tar").write_bytes(
        {"text": b"no tar", "cut": content[: size + 600], "header": content, "empty": bytes(10240)}[damage]
    )
    words = "holds no pictures" if damage == "empty" else "cannot be read as a tar"
    assert f"in.tar {words}" in mistake(capsys, demo, "--input", "in.tar", *TWICE)
    assert [path.name for path in Path().iterdir()] == ["in.tar"]
