"""A crop is made of the LR pixels that it needs, and equals the crop of the whole result."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import demo
import models
from models import Upscaler, load_upscaler
from models.zoo import resolve, zoo
from painting.jobs import Job
from painting.layers import drawing
from painting.parts import pixels_for
from painting.plan import plan
from painting.request import Request
from painting.torch_engine import TorchEngine
from pictures.formats import format_of
from pictures.picture import Picture
from pictures.reading import read_picture
from pictures.tensors import to_tensor
from pictures.writing import write_picture
from runtime.lerf.continua_lerf import Tables
from tests.commands import call
from tests.pictures.making import noise
from tests.registered import small_spec
from utils.files import PROJECT
from utils.geometry.grids import Grid
from utils.geometry.homographies import Homography

SIZE, OUTPUT = (190, 230), (520, 490)  # the scale differs between the axes
PARTS = {
    "upper left": (0, 0, (31, 52)),
    "lower right": (OUTPUT[0] - 17, OUTPUT[1] - 40, (17, 40)),
    "inside": (201, 133, (90, 23)),
    "a pixel": (519, 0, (1, 1)),
}
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}
SHIPPED = [*zoo(), "nearest", "bilinear", "bicubic", "catmull-rom", "lanczos"]


def sample() -> torch.Tensor:
    """Part of a photograph with a photographer's detail, (3, *SIZE)."""
    return to_tensor(read_picture(PROJECT / "load/samples/tulips.png").pixels)[:, : SIZE[0], : SIZE[1]]


def shipped(name: str) -> Upscaler:
    if name in models.names("resampling"):
        return Upscaler(models.make({"name": name}).eval())
    return load_upscaler(PROJECT / zoo()[name].file)


@pytest.mark.parametrize(("name", "precision"), [*((name, "float32") for name in SHIPPED), ("s", "bfloat16")])
def test_a_crop_of_every_shipped_model_is_the_part_of_the_whole(name, precision) -> None:
    upscaler = replace(shipped(name), precision=precision)
    lr, grid = sample(), Grid.of_size(OUTPUT)
    whole = drawing(grid)(upscaler, lr)
    for top, left, (height, width) in PARTS.values():
        part = grid.window(top, left, (height, width))
        pixels = pixels_for(upscaler, part, SIZE)
        if pixels is None and upscaler.model.native_library:
            pytest.skip("needs the native routines")
        assert pixels.height * pixels.width < 0.6 * SIZE[0] * SIZE[1]
        crop = drawing(part, pixels=pixels)(upscaler, lr)
        assert (crop - whole[:, top : top + height, left : left + width]).abs().max() < TOLERANCE[precision]


def test_a_crop_of_a_warp_is_the_part_of_the_whole() -> None:
    upscaler, lr = shipped("s"), sample()
    grid = Homography.rotation(17, SIZE, OUTPUT, (2.2, 1.8)).grid(SIZE, OUTPUT)
    whole = drawing(grid)(upscaler, lr)
    fewer = 0
    for top, left, (height, width) in PARTS.values():
        part = grid.window(top, left, (height, width))
        pixels = pixels_for(upscaler, part, SIZE)
        fewer += pixels is not None
        crop = drawing(part, pixels=pixels)(upscaler, lr)
        assert (crop - whole[:, top : top + height, left : left + width]).abs().max() < 1e-5
    assert fewer


@pytest.mark.parametrize("name", ["lmliif", "lmlte"])
def test_a_picture_added_by_the_model_is_cut_alike(name) -> None:
    """With the LR picture's own bilinear interpolation, and with several chunks of rows in a part."""
    torch.manual_seed(0)
    upscaler, lr, grid = Upscaler(models.make(small_spec(name)).eval()), torch.rand(3, *SIZE), Grid.of_size(OUTPUT)
    upscaler.model.pixels_at_a_time = lambda latent: (41, 37)
    part = grid.window(250, 211, (200, 100))
    pixels = pixels_for(upscaler, part, SIZE)
    if pixels is None:
        pytest.skip("needs the native routines")
    crop = drawing(part, pixels=pixels)(upscaler, lr)
    assert (crop - drawing(grid)(upscaler, lr)[:, 250:450, 211:311]).abs().max() < 2e-6


def test_only_the_whole_picture_will_do() -> None:
    part = Grid.of_size(OUTPUT).window(0, 0, (9, 9))
    assert pixels_for(Upscaler(models.make(small_spec("lmciaosr")).eval()), part, SIZE) is None
    lanczos = shipped("lanczos")
    assert pixels_for(lanczos, part, SIZE) is not None
    assert pixels_for(lanczos, part, (600, 230)) is None  # reduced along an axis
    assert pixels_for(lanczos, Grid.of_size(OUTPUT), SIZE) is None  # all of it is needed
    warped = Homography.rotation(30, SIZE, OUTPUT, (2, 2)).grid(SIZE, OUTPUT).window(200, 200, (9, 9))
    assert pixels_for(lanczos, warped, SIZE) is None  # resampling kernels find their pixels by themselves
    small = Homography.rotation(30, SIZE, OUTPUT, (0.8, 2)).grid(SIZE, OUTPUT).window(200, 200, (9, 9))
    assert pixels_for(shipped("s"), small, SIZE) is None


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("model", ["s", "lerf-g"])
@pytest.mark.parametrize("channels", ["RGB", "RGBA", "CMYK"])
def test_demo_writes_crops(monkeypatch, model, channels) -> None:
    """16 bits, transparency below which colours continue, and inks, which are no colours to a network."""
    pixels = noise(190, 230, len(channels), dtype=np.uint8 if channels == "CMYK" else np.uint16)
    if channels == "RGBA":
        pixels[..., 3] = np.where(np.arange(230) < 90, 65535, 0)
    ending = "tif" if channels == "CMYK" else "png"
    write_picture(Path(f"in.{ending}"), Picture(pixels, channels))
    encoded = []

    def spied(self: Upscaler, pictures: torch.Tensor) -> object:
        encoded.append(pictures.shape[-2:].numel())
        return original(self, pictures)

    original = Upscaler.encode
    monkeypatch.setattr(Upscaler, "encode", spied)
    options = ("--input", f"in.{ending}", "--scale", "2.3x1.9", "--model", model, "--precision", "float32")
    call(demo, *options, "--output", f"whole.{ending}")
    most = max(encoded, default=None)
    encoded.clear()
    call(demo, *options, "--output", f"part.{ending}", "--crop", "130,7,60,41")
    whole, part = (read_picture(f"{name}.{ending}").pixels for name in ("whole", "part"))
    difference = np.abs(part.astype(int) - whole[7:48, 130:190])
    assert difference.max() <= (1 if part.dtype == np.uint8 else 2)
    assert (difference > 0).mean() < (3e-4 if part.dtype == np.uint8 else 0.2)
    assert most is None or max(encoded) < 0.8 * most


def test_memory_is_that_of_the_crop() -> None:
    request = Request(scale=(4, 4), crop=(0, 0, 400, 400))
    picture = Picture(np.broadcast_to(np.uint8(0), (4000, 3000, 3)), "RGB")
    engine = TorchEngine(Upscaler(models.make(small_spec("lmliif")).eval()))
    made = plan(request, Job(Path("-"), Path("-"), format_of("o.png")), picture)
    assert max(engine.encoded_size(made)) < 160


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_the_runtime_looks_up_what_a_part_needs(depth) -> None:
    library = pytest.importorskip("painting.engines").load_tables(resolve("lerf-g"))
    if library is None:
        pytest.skip("needs the C library of LUTs, or a compiler")
    assert isinstance(library, Tables)
    pixels = noise(60, 71, 3, dtype=depth)
    for size in ((150, 120), (30, 200)):
        whole = library.upscale(pixels, size)
        for top, left, part in ((0, 0, (9, 7)), (21, 113, (9, 7)), (7, 40, (20, 11)), (0, 3, (30, 1))):
            crop = library.upscale(pixels, size, (top, left, part))
            assert np.array_equal(crop, whole[top : top + part[0], left : left + part[1]])
