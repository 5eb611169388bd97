"""Crops of the LR pixels that they need and strips of large pictures equal the whole; the sheet that compares."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import demo
import models
from models import Upscaler, load_upscaler
from models.native import backends
from models.zoo import zoo
from painting.jobs import Job
from painting.layers import drawing, drawing_upscaler, paint, pixels_for
from painting.plan import plan
from painting.request import Request
from painting.sheets import CROP, GAP, LABEL, comparison_sheet, textured_crops
from painting.torch_engine import TorchEngine, block_size, can_strip, strips
from pictures.formats import format_of
from pictures.picture import Picture
from pictures.reading import read_picture
from pictures.tensors import Layers, to_tensor
from pictures.writing import write_picture
from tests.commands import call, mistake
from tests.golden_cases import assert_close
from tests.pictures.making import noise
from tests.registered import small_spec
from utils.errors import InputError
from utils.files import PROJECT
from utils.geometry.grids import Grid
from utils.geometry.homographies import Homography

SIZE, OUTPUT = (120, 140), (330, 300)  # the scale differs between the axes
PARTS = ((0, 0, (31, 52)), (313, 260, (17, 40)), (121, 83, (60, 23)), (329, 0, (1, 1)))
native = pytest.mark.skipif(backends.library("lerf") is None, reason="needs the native routines")


def sample() -> torch.Tensor:
    """Part of a photograph with a photographer's detail, (3, *SIZE)."""
    return to_tensor(read_picture(PROJECT / "load/samples/tulips.png").pixels)[:, : SIZE[0], : SIZE[1]]


def shipped(name: str) -> Upscaler:
    return load_upscaler(zoo()[name].file) if name in zoo() else small(name)


def small(name: str) -> Upscaler:
    torch.manual_seed(0)
    return Upscaler(models.make({"name": name, "args": {"nf": 8}} if name == "lerf-g" else small_spec(name)).eval())


UPRIGHT = Grid.of_size(OUTPUT)
TURNED = Homography.rotation(17, SIZE, OUTPUT, (2.2, 1.8)).grid(SIZE, OUTPUT)


@native
@pytest.mark.parametrize(
    ("name", "grid", "tolerance"),
    [
        *((name, UPRIGHT, 1e-5) for name in (*zoo(), "nearest", "catmull-rom", "lanczos", "lmliif", "lmlte")),
        ("s, reduced", UPRIGHT, 2e-2),
        ("s", TURNED, 1e-5),
    ],
)
def test_a_crop_is_the_part_of_the_whole(name, grid, tolerance) -> None:
    """Of every shipped model; of those that add the LR picture's own interpolation, in several chunks of rows."""
    upscaler, lr, fewer = shipped(name.partition(",")[0]), sample(), 0
    if "reduced" in name:
        upscaler = replace(upscaler, precision="bfloat16")
    if name.startswith("lm"):
        upscaler.model.pixels_at_a_time = lambda latent: (41, 37)
    whole = drawing(grid)(upscaler, lr)
    for top, left, (height, width) in PARTS:
        part = grid.window(top, left, (height, width))
        pixels = pixels_for(upscaler, part, SIZE)
        fewer += pixels is not None and pixels.height * pixels.width < 0.75 * SIZE[0] * SIZE[1]
        crop = drawing(part, pixels=pixels)(upscaler, lr)
        assert (crop - whole[:, top : top + height, left : left + width]).abs().max() < tolerance
    assert fewer == len(PARTS) if grid is UPRIGHT else fewer


@pytest.mark.parametrize("name", ["nearest", "catmull-rom", "lanczos"])
@pytest.mark.parametrize("output", [(48, 70), (301, 70), SIZE])
def test_a_crop_of_what_a_filter_reduces_is_the_part_of_the_whole(name, output) -> None:
    upscaler, lr, grid = shipped(name), sample(), Grid.of_size(output)
    part = grid.window(20, 30, (9, 9))
    pixels = pixels_for(upscaler, part, SIZE)
    assert pixels.height * pixels.width < 0.75 * SIZE[0] * SIZE[1]
    crop, whole = drawing(part, pixels=pixels)(upscaler, lr), drawing(grid)(upscaler, lr)
    assert (crop - whole[:, 20:29, 30:39]).abs().max() < 1e-5


def test_only_the_whole_picture_will_do() -> None:
    part, lanczos = Grid.of_size(OUTPUT).window(0, 0, (9, 9)), shipped("lanczos")
    assert pixels_for(small("lmciaosr"), part, SIZE) is None
    assert pixels_for(lanczos, part, SIZE) is not None
    assert pixels_for(shipped("s"), part, (OUTPUT[0] + 1, 140)) is None  # reduced along an axis
    warped = Homography.rotation(30, SIZE, OUTPUT, (2, 2)).grid(SIZE, OUTPUT).window(200, 200, (9, 9))
    assert pixels_for(lanczos, warped, SIZE) is None  # resampling kernels find their pixels by themselves
    reduced = Homography.rotation(30, SIZE, OUTPUT, (0.8, 2)).grid(SIZE, OUTPUT).window(200, 200, (9, 9))
    assert pixels_for(shipped("s"), reduced, SIZE) is None


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("model", ["s", "lerf-g"])
@pytest.mark.parametrize("channels", ["RGBA", "CMYK"])
def test_demo_writes_crops(monkeypatch, model, channels) -> None:
    """16 bits, transparency below which colours continue, and inks, which are no colours to a network."""
    pixels = noise(150, 190, 4, dtype=np.uint8 if channels == "CMYK" else np.uint16)
    if channels == "RGBA":
        pixels[..., 3] = np.where(np.arange(190) < 70, 65535, 0)
    ending = "tif" if channels == "CMYK" else "png"
    write_picture(Path(f"in.{ending}"), Picture(pixels, channels))
    encoded, original = [], Upscaler.encode

    def spied(self: Upscaler, pictures: torch.Tensor) -> object:
        encoded.append(pictures.shape[-2:].numel())
        return original(self, pictures)

    monkeypatch.setattr(Upscaler, "encode", spied)
    options = ("--input", f"in.{ending}", "--scale", "2.3x1.9", "--model", model, "--precision", "float32")
    call(demo, *options, "--output", f"whole.{ending}")
    most = max(encoded)
    encoded.clear()
    call(demo, *options, "--output", f"part.{ending}", "--crop", "130,7,60,41")
    whole, part = (read_picture(f"{name}.{ending}").pixels for name in ("whole", "part"))
    difference = np.abs(part.astype(int) - whole[7:48, 130:190])
    assert difference.max() <= (1 if part.dtype == np.uint8 else 2)
    assert (difference > 0).mean() < (3e-4 if part.dtype == np.uint8 else 0.2)
    assert max(encoded) < 0.8 * most


def test_memory_is_that_of_the_crop() -> None:
    request = Request(scale=(4, 4), crop=(0, 0, 400, 400))
    picture = Picture(np.broadcast_to(np.uint8(0), (4000, 3000, 3)), "RGB")
    made = plan(request, Job(Path("-"), Path("-"), format_of("o.png")), picture)
    assert max(TorchEngine(small("lmliif")).encoded_size(made)) < 160


STRIPPED = (150, 70)  # the size of what is painted in strips


def picture_of(channels: int) -> Picture:
    kinds = {1: "L", 3: "RGB", 4: "RGBA"}
    return Picture(np.random.default_rng(0).integers(1, 256, (60, 31, channels), dtype=np.uint8), kinds[channels])


@native
@pytest.mark.parametrize("name", ["nearest", "lanczos", "lmliif", "lmlte", "lerf-g"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("window", "columns"), [((0, 0, STRIPPED), 70), ((37, 11, (90, 40)), 17)])
def test_strips_are_the_whole_picture(name, channels, window, columns) -> None:
    """Also where it is grey in part, which has to stay so, and where strips are opaque, or translucent."""
    upscaler, picture, (top, left, (height, width)) = small(name), picture_of(channels), window
    picture.pixels[:40, :, :3] = picture.pixels[:40, :, :1]
    picture.pixels[30:, :, 3:] = 255
    whole = paint(upscaler, Layers.of(picture), drawing(STRIPPED))
    assert (whole.colour == whole.colour[:1]).all(dim=0)[:50].all()
    parts = list(strips(upscaler, picture, STRIPPED, window, (23, columns)))
    assert len(parts) == -(-height // 23)
    made, expected = Layers.joined(parts, 1), whole.window(top, left, (height, width))
    assert_close(made.colour, expected.colour, 2e-6)
    if channels == 4:
        assert_close(made.alpha, expected.alpha, 2e-6)


@native
def test_what_has_to_be_whole() -> None:
    lerf, rgba = small("lerf-g"), Picture(np.full((60, 31, 4), 9, np.uint8), "RGBA")
    assert can_strip(lerf, picture_of(1), STRIPPED)
    assert not can_strip(lerf, picture_of(3), (150, 20))
    assert can_strip(lerf, rgba, STRIPPED)
    rgba.pixels[50, 3, 3] = 0
    assert not can_strip(lerf, rgba, STRIPPED)
    assert not can_strip(small("lmciaosr"), picture_of(3), STRIPPED)


@native
def test_blocks_follow_from_the_memory() -> None:
    """All columns where rows suffice, fewer where what is around a block would be encoded again and again. PyTorch
    takes several times the memory of the native routines for LUTs, and as much for filters."""
    lut, size, given = small("lerf-lut"), (12000, 12000), (6000, 6000)
    (few, narrow), (many, wide) = (block_size(lut, given, size, size, n << 20) for n in (20, 2000))
    assert 1 <= few < many < 12000
    assert narrow < wide == 12000
    with pytest.raises(InputError, match="--memory"):
        block_size(lut, given, size, size, 700_000)
    for upscaler, less in ((lut, True), (small("bicubic"), False)):
        torch_too = upscaler, replace(upscaler, backend="torch")
        by_native, by_torch = (math.prod(block_size(each, given, size, size, 100 << 20)) for each in torch_too)
        assert by_torch < by_native / 2 if less else by_torch == by_native


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize(("ending", "channels"), [("png", 4), ("tif", 3), ("ppm", 4)])
def test_demo_writes_strips(ending, channels) -> None:
    write_picture("in.png", picture_of(channels))
    options = ("--input", "in.png", "--scale", 9, "--model", "lanczos")
    options += ("--background", "red") if ending == "ppm" else ()
    for name, memory in (("whole", "2G"), ("strips", "1500K")):
        call(demo, *options, "--memory", memory, "--output", f"{name}.{ending}")
    made, whole = (read_picture(f"{name}.{ending}").pixels.astype(int) for name in ("strips", "whole"))
    assert made.shape[:2] == (540, 279)
    assert np.abs(made - whole).max() <= 1
    assert (made != whole).mean() < 1e-4


@pytest.mark.usefixtures("empty_folder")
def test_what_memory_does_not_suffice_for(pictures, capsys) -> None:
    options = ("--input", pictures / "a.png", "--scale", 9, "--model", "lanczos")
    assert "--memory" in mistake(capsys, demo, *options, "--memory", "2M", "--output", "o.jpg")
    line = mistake(capsys, demo, *options, "--memory", "10K", "--output", "o.png")
    assert "a.png: a strip" in line
    assert "--memory" in line
    assert "--memory" in mistake(capsys, demo, *options, "--memory", "much", "--output", "o.png")
    assert not list(Path().glob("*o.*"))


def test_the_most_textured_parts_are_chosen() -> None:
    lr = np.full((96, 128, 3), 90, np.uint8)
    lr[32:64, 64:96] = noise(32, 32, 3)
    lr[64:96, 0:32] = noise(32, 32, 3) // 2
    crops = textured_crops(lr, (4 * 96, 4 * 128))
    assert crops[:2] == [(256, 128, CROP, CROP), (0, 256, CROP, CROP)]
    assert len(crops) == 3
    assert textured_crops(lr[:8, :9], (16, 18)) == [(0, 0, 18, 16)]


def test_every_tile_shows_the_same_part() -> None:
    ramp = np.linspace(0, 255, 40).astype(np.uint8)[None, :, None].repeat(30, 0).repeat(3, 2)
    result = np.array(Image.fromarray(ramp).resize((160, 120), Image.Resampling.BICUBIC))
    result[60:80, 100:120] = 255
    sheet = comparison_sheet(ramp, result, "mine", [(80, 40, 64, 64)])
    side = 320
    tiles = [sheet[LABEL : LABEL + side, GAP + i * (side + GAP) :][:, :side].astype(int) for i in range(4)]
    assert sheet.shape == (2 * LABEL + side + GAP, 4 * (side + GAP) + GAP, 3)
    assert abs(tiles[1][:80] - tiles[2][:80]).max() == 0
    assert abs(tiles[0] - tiles[1]).max() < 12
    assert (tiles[2][100:200, 100:200] == 255).all()
    changed = np.array([[(20 <= y // 5 < 40) and (20 <= x // 5 < 40) for x in range(side)] for y in range(side)])
    assert (tiles[3][~changed] == 0).all()
    assert (tiles[3][changed] > 100).all()
    assert (sheet[:LABEL] < 128).any()  # labels


@pytest.mark.parametrize("model", ["lanczos", "subpixel-s"])
def test_a_reduction_takes_no_memory_for_encoding(tmp_path, model) -> None:
    Image.new("RGB", (2000, 1500), (9, 99, 200)).save(tmp_path / "large.png")
    options = ("--scale", 0.1, "--model", model, "--memory", "600M", "--output", tmp_path / "o.png")
    call(demo, "--input", tmp_path / "large.png", *options)
    assert Image.open(tmp_path / "o.png").size == (200, 150)


def test_what_reduces_computes_as_the_model_was_asked_to() -> None:
    upscaler = load_upscaler("subpixel-s", backend="torch")
    reducing = drawing_upscaler(upscaler, Grid.of_size((5, 5)), (10, 10))
    assert (reducing is not upscaler, reducing.backend, reducing.device) == (True, "torch", upscaler.device)
    assert drawing_upscaler(upscaler, Grid.of_size((5, 20)), (10, 10)) is upscaler
