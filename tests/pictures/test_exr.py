"""OpenEXR files: linear light, colours times alpha, and what of a file is left out."""

from pathlib import Path

import numpy as np
import pytest

import demo
from pictures import exr
from pictures.metadata import Metadata
from pictures.picture import Picture
from pictures.reading import is_picture, read_picture, read_rgb
from pictures.writing import write_picture
from tests.commands import call, mistake
from tests.pictures.making import noise
from utils.errors import InputError

OpenEXR = pytest.importorskip("OpenEXR")
TWICE = ("--model", "nearest", "--scale", "2")


def make(path: Path, channels: dict[str, np.ndarray], **header: object) -> Path:
    about = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    OpenEXR.File(about, channels).write(str(path))
    return path


def planes(path: Path) -> dict[str, np.ndarray]:
    channels = OpenEXR.File(str(path), separate_channels=True).channels()
    return {name: channel.pixels for name, channel in channels.items()}


def test_files_hold_light_times_alpha(tmp_path) -> None:
    path = tmp_path / "p.exr"
    write_picture(path, Picture(np.full((2, 3, 4), 0.5, np.float32), "RGBA"))
    assert planes(path)["R"] == pytest.approx(0.2140411 / 2, abs=1e-6)
    assert planes(path)["A"] == pytest.approx(0.5)
    assert read_picture(path).pixels == pytest.approx(0.5, abs=1e-6)
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    write_picture(path, levels)
    assert np.array_equal(read_rgb(path), levels)


def test_the_curve_goes_on_beyond_its_ends() -> None:
    light = np.array([-3, -0.001, 0, 0.001, 0.5, 1, 40], np.float32)
    values = exr.from_light(light)
    assert values[[2, 5]].tolist() == [0, 1]
    assert (np.diff(values) > 0).all()
    assert exr.to_light(values) == pytest.approx(light, rel=1e-5)


@pytest.mark.usefixtures("empty_folder")
def test_demo_keeps_bright_light(capsys) -> None:
    light = np.linspace(0, 12, 60, dtype=np.float32).reshape(6, 10)
    make(Path("in.exr"), dict.fromkeys("RGB", light.astype(np.float16)), comments="by hand", xDensity=10.0)
    assert is_picture(Path("in.exr"))
    call(demo, "--input", "in.exr", "--output", "o.exr", *TWICE)
    made = planes(Path("o.exr"))["G"]
    assert made.dtype == np.float32
    assert made == pytest.approx(light.repeat(2, 0).repeat(2, 1), rel=1e-3)
    header = OpenEXR.File("o.exr").header()
    assert (header["comments"], header["xDensity"]) == ("by hand", 20)
    assert "floats from 0 to" in mistake(capsys, demo, "--input", "in.exr", "--output", "o.png", *TWICE)


def test_what_is_left_out_is_said(tmp_path) -> None:
    grey = np.full((2, 3), 0.25, np.float32)
    wide = (np.array([0, 0], np.int32), np.array([7, 7], np.int32))
    about = {"displayWindow": wide, "chromaticities": (0.7, 0.3, 0.2, 0.7, 0.1, 0.1, 0.3, 0.3)}
    losses = read_picture(make(tmp_path / "p.exr", {"Y": grey, "Z": grey}, **about)).losses
    assert losses == ("without channel Z", "without its chromaticities", "without its display window")
    OpenEXR.File([OpenEXR.Part({}, {"Y": grey}, name) for name in ("one", "two")]).write(str(tmp_path / "two.exr"))
    assert read_picture(tmp_path / "two.exr").losses == ("only the first of its parts used",)
    metadata = Metadata(text={"Author": "somebody", "compression": "none", "a b": "c"})
    write_picture(tmp_path / "p.exr", Picture(noise(2, 3, 1).astype(np.float32) / 255, "L", metadata))
    assert read_picture(tmp_path / "p.exr").metadata.text == {"Author": "somebody"}


def test_files_that_cannot_be_read(tmp_path, monkeypatch) -> None:
    grey = noise(90, 70, 1).astype(np.float32)[..., 0] / 255
    content = make(tmp_path / "p.exr", {"Y": grey}).read_bytes()
    for length in (-20, 5000, 200, 4):
        with pytest.raises(InputError, match="cannot be read"):
            read_picture(content[:length])
    for channels, words in (
        ({"U": grey, "V": grey}, "channels U, V"),
        ({"Y": np.ones((2, 2), np.uint32)}, "whole numbers"),
        ({"Y": np.full_like(grey, np.nan)}, "no numbers"),
    ):
        with pytest.raises(InputError, match=words):
            read_picture(make(tmp_path / "other.exr", channels))
    monkeypatch.setattr("utils.system.available_memory", lambda: 1000)
    with pytest.raises(InputError, match="of memory"):
        read_picture(content)


@pytest.mark.usefixtures("empty_folder")
def test_without_the_package(capsys, monkeypatch) -> None:
    make(Path("p.exr"), {"Y": np.ones((2, 2), np.float32)})
    write_picture("in.png", noise(4, 4, 3))
    monkeypatch.setattr(exr, "find_spec", lambda _: None)
    for source, target in (("p.exr", "o.png"), ("in.png", "o.exr")):
        assert "pip install OpenEXR" in mistake(capsys, demo, "--input", source, "--output", target, *TWICE)
    assert not Path("o.exr").exists()
