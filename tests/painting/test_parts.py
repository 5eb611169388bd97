"""Pictures painted in strips are those painted whole."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import demo
import models
from models import Upscaler
from models.native import backends
from painting.layers import drawing, paint
from painting.parts import block_size, can_strip, strips
from pictures.picture import Picture
from pictures.reading import read_picture
from pictures.tensors import Layers
from tests.commands import call, mistake
from tests.golden_cases import assert_close
from tests.registered import small_spec
from utils.errors import InputError

SIZE = (150, 70)
SPECS = {
    "nearest": small_spec("nearest"),
    "lanczos": small_spec("lanczos"),
    "lmliif": small_spec("lmliif"),
    "lmlte": small_spec("lmlte"),
    "lerf-g": {"name": "lerf-g", "args": {"nf": 8}},
}


def upscaler_of(name: str) -> Upscaler:
    torch.manual_seed(0)
    return Upscaler(models.make(SPECS[name]).eval())


def picture_of(channels: int) -> Picture:
    generator = np.random.default_rng(0)
    kinds = {1: "L", 3: "RGB", 4: "CMYK"}
    return Picture(generator.integers(0, 256, (60, 31, channels), dtype=np.uint8), kinds[channels])


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("window", [(0, 0, SIZE), (37, 11, (90, 40))])
@pytest.mark.parametrize("columns", [70, 17])
def test_strips_are_the_whole_picture(name, window, columns) -> None:
    upscaler, picture = upscaler_of(name), picture_of(3)
    if not can_strip(upscaler, picture, SIZE):
        pytest.skip("needs the native routines")
    top, left, (height, width) = window
    whole = upscaler(Layers.of(picture).colour, SIZE)[0, :, top : top + height, left : left + width]
    parts = [layers.colour for layers in strips(upscaler, picture, SIZE, window, (23, columns))]
    assert len(parts) == -(-height // 23)
    # Convolutions may round the last bit otherwise in a part of a picture; what is not a network is exact
    assert_close(torch.cat(parts, dim=1), whole, 2e-6 if upscaler.model.encodes or name == "lerf-g" else 1e-12)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("opaque", [False, True])
def test_strips_with_alpha(name, opaque) -> None:
    """All of them, or some, are opaque; the pixels that are half transparent are drawn by what draws alpha."""
    upscaler, generator = upscaler_of(name), np.random.default_rng(1)
    pixels = np.dstack([picture_of(3).pixels, generator.integers(1, 256, (60, 31), dtype=np.uint8)])
    pixels[30 if not opaque else 0 :, :, 3] = 255
    picture = Picture(pixels, "RGBA")
    if not can_strip(upscaler, picture, SIZE):
        pytest.skip("needs the native routines")
    whole = paint(upscaler, Layers.of(picture), drawing(SIZE))
    parts = list(strips(upscaler, picture, SIZE, (0, 0, SIZE), (23, 30)))
    assert (whole.alpha.min() == 1) == opaque
    for all_rows, rows in ((whole.colour, [part.colour for part in parts]), (whole.alpha, [p.alpha for p in parts])):
        assert_close(torch.cat(rows, dim=1), all_rows, 2e-6)


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize(("output", "background"), [("o.png", None), ("o.ppm", "red")])
def test_demo_writes_strips_of_alpha(output, background) -> None:
    pixels = np.dstack([picture_of(3).pixels, np.full((60, 31), 100, np.uint8)])
    Image.fromarray(pixels).save("in.png")
    options = ("--input", "in.png", "--scale", 9, "--model", "lanczos", "--output", output)
    options += ("--background", background) if background else ()
    call(demo, *options, "--memory", "2G")
    whole = read_picture(output).pixels
    call(demo, *options, "--memory", "1500K", "--overwrite")
    assert np.array_equal(read_picture(output).pixels, whole)
    pixels[5, 5, 3] = 0
    Image.fromarray(pixels).save("in.png")
    with pytest.raises(InputError, match="--memory"):
        demo.main([*map(str, options), "--memory", "1500K", "--overwrite"])


def test_strips_are_grey_where_the_whole_picture_is() -> None:
    upscaler, picture = upscaler_of("lmliif"), picture_of(3)
    if not can_strip(upscaler, picture, SIZE):
        pytest.skip("needs the native routines")
    picture.pixels[:40] = picture.pixels[:40, :, :1]
    whole = upscaler(Layers.of(picture).colour, SIZE)[0]
    grey = (whole == whole[:1]).all(dim=0).all(dim=1)
    assert grey[:50].all()
    assert not grey.all()
    parts = [layers.colour for layers in strips(upscaler, picture, SIZE, (0, 0, SIZE), (20, 30))]
    assert_close(torch.cat(parts, dim=1), whole, 2e-6)


def test_what_has_to_be_whole() -> None:
    lerf, rgba = upscaler_of("lerf-g"), Picture(np.full((60, 31, 4), 9, np.uint8), "RGBA")
    assert can_strip(lerf, picture_of(1), SIZE)
    assert not can_strip(lerf, picture_of(3), (150, 20))
    assert can_strip(lerf, rgba, SIZE)
    rgba.pixels[50, 3, 3] = 0
    assert not can_strip(lerf, rgba, SIZE)
    assert not can_strip(Upscaler(models.make(small_spec("lmciaosr")).eval()), picture_of(3), SIZE)


@pytest.mark.skipif(backends.library("lerf") is None, reason="needs the native routines")
def test_blocks_follow_from_the_memory() -> None:
    """All columns where rows suffice, fewer where what is around a block would be encoded again and again."""
    upscaler, size = Upscaler(models.make({"name": "lerf-lut"}).eval()), (12000, 12000)
    (few, narrow), (many, wide) = (block_size(upscaler, (6000, 6000), size, size, n << 20) for n in (20, 2000))
    assert 1 <= few < many < 12000
    assert narrow < wide == 12000
    with pytest.raises(InputError, match="--memory"):
        block_size(upscaler, (6000, 6000), size, size, 700_000)


@pytest.mark.skipif(backends.library("lerf") is None, reason="needs the native routines")
@pytest.mark.parametrize(("name", "less"), [("lerf-lut", True), ("bicubic", False)])
def test_blocks_are_smaller_where_pytorch_looks_up(name, less) -> None:
    """PyTorch takes several times the memory of the native routines for LUTs, and as much for filters."""
    model, size = models.make({"name": name}).eval(), (12000, 12000)
    by_native, by_torch = (
        math.prod(block_size(Upscaler(model, backend=backend), (6000, 6000), size, size, 100 << 20))
        for backend in ("auto", "torch")
    )
    assert by_torch < by_native / 2 if less else by_torch == by_native


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("ending", ["png", "tif", "ppm"])
def test_demo_writes_strips(pictures, ending) -> None:
    for name, memory in (("whole", "2G"), ("strips", "2M")):
        output = f"{name}.{ending}"
        call(
            demo,
            "--input",
            pictures / "a.png",
            "--scale",
            9,
            "--model",
            "lanczos",
            "--memory",
            memory,
            "--output",
            output,
        )
    assert Image.open(f"strips.{ending}").size == (48 * 9, 64 * 9)
    assert np.array_equal(read_picture(f"strips.{ending}").pixels, read_picture(f"whole.{ending}").pixels)


@pytest.mark.usefixtures("empty_folder")
def test_what_memory_does_not_suffice_for(pictures, capsys, tmp_path) -> None:
    options = ("--input", pictures / "a.png", "--scale", 9, "--model", "lanczos")
    assert "--memory" in mistake(capsys, demo, *options, "--memory", "2M", "--output", "o.jpg")
    line = mistake(capsys, demo, *options, "--memory", "10K", "--output", "o.png")
    assert "a.png: a strip" in line
    assert "--memory" in line
    assert "--memory" in mistake(capsys, demo, *options, "--memory", "much", "--output", "o.png")
    assert "--compression is for .png" in mistake(capsys, demo, *options, "--compression", "1", "--output", "o.jpg")
    assert not list(tmp_path.glob("*o.*"))


@pytest.mark.usefixtures("empty_folder")
def test_compression(pictures) -> None:
    sizes = []
    for level in (0, 1, 9):
        output = f"{level}.png"
        call(
            demo,
            "--input",
            pictures / "a.png",
            "--scale",
            4,
            "--model",
            "lanczos",
            "--compression",
            level,
            "--output",
            output,
        )
        sizes.append(Path(output).stat().st_size)
    assert sizes[0] > sizes[1] > sizes[2]
