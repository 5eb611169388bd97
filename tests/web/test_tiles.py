"""Tiles, windows and downloads are what demo.py writes."""

import io
import math
import shlex
import sys
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import demo
import web.studio
from tests.commands import call
from tests.web.conftest import HOME, blobs, finished, opened, png_of
from utils import system
from utils.files import PROJECT
from web.server import create_app
from web.settings import Settings
from web.studio import Studio, level_size, tile_side
from web.uploads import open_upload

SHIPPED = "s"


def picture_of(content: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(content)))


def tile_of(client: TestClient, name: str, level: int, column: int, row: int, model: str) -> bytes:
    return client.get(f"/api/pictures/{name}/tiles/{level}/{column}/{row}?model={model}").content


def seen(pixels: np.ndarray) -> np.ndarray:
    """What shows of colours below transparency, in front of black."""
    return pixels if pixels.ndim == 2 or pixels.shape[2] < 4 else np.rint(pixels[..., :3] * (pixels[..., 3:] / 255))


def painted(folder: Path, photo: Path, *options: object) -> np.ndarray:
    call(demo, "--input", photo, "--output", folder / "out.png", "--overwrite", *options)
    return np.array(Image.open(folder / "out.png"))


@pytest.mark.parametrize(
    ("model", "level", "column", "row"),
    [("s", -1, 0, 0), ("s", 3, 1, 0), ("s", 5, 2, 1), ("lerf-g", 0, 0, 0), ("lerf-g", 4, 1, 1), ("bicubic", 6, 0, 4)],
)
def test_a_tile_is_the_crop_of_the_whole_result(client, photo, tmp_path, model, level, column, row) -> None:
    name = opened(client, photo.read_bytes())
    tile = picture_of(client.get(f"/api/pictures/{name}/tiles/{level}/{column}/{row}?model={model}").content)
    height, width = (int(np.ceil(n * 2.0**level)) for n in (40, 52))
    whole = painted(tmp_path, photo, "--size", f"{width}x{height}", "--model", model)
    side = tile_side(level)
    crop = whole[row * side :, column * side :][:side, :side]
    assert np.array_equal(tile, crop)


def test_tiles_of_a_picture_that_is_prepared_in_blocks_too(client, tmp_path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(png_of(blobs(136, 270)))
    name = opened(client, photo.read_bytes())
    whole = painted(tmp_path, photo, "--scale", "2", "--model", SHIPPED)
    for column, row in ((2, 1), (0, 0), (1, 0)):
        tile = picture_of(client.get(f"/api/pictures/{name}/tiles/1/{column}/{row}?model=s").content)
        assert np.array_equal(tile, whole[row * 256 : row * 256 + 256, column * 256 : column * 256 + 256])


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_pictures_too(client, tmp_path, channels) -> None:
    pixels = blobs(40, 52, 4 if channels == 4 else 3)
    photo = tmp_path / "photo.png"
    Image.fromarray(pixels).convert({1: "L", 4: "RGBA"}[channels]).save(photo)
    name = opened(client, photo.read_bytes())
    tile = picture_of(client.get(f"/api/pictures/{name}/tiles/3/1/0?model=s").content)
    whole = painted(tmp_path, photo, "--scale", "8", "--model", SHIPPED)
    assert np.array_equal(tile, whole[:, 384:])


def test_tiles_of_one_scale_after_those_of_another(client, photo, tmp_path) -> None:
    """What is kept for one output pixel size is not used for another."""
    name = opened(client, photo.read_bytes())
    for level in (1, 0, 2, 1):
        tile = picture_of(client.get(f"/api/pictures/{name}/tiles/{level}/0/0?model=s").content)
        whole = painted(tmp_path, photo, "--scale", 2**level, "--model", SHIPPED)
        assert np.array_equal(tile, whole[:256, :256])


@pytest.mark.parametrize(
    "asked",
    [
        {"width": 111, "height": 87, "ending": ".png"},
        {"width": 830, "height": 640, "ending": ".png", "window": [100, 37, 300, 210]},
        {"width": 90, "height": 70, "ending": ".png", "matrix": "1.2,0.1,3,-0.1,1.1,6,0.001,0.0005,1"},
        {"width": 104, "height": 80, "ending": ".tif", "model": "lerf-g"},
    ],
)
def test_the_shown_command_writes_the_downloaded_file(client, photo, tmp_path, monkeypatch, asked) -> None:
    name = opened(client, photo.read_bytes())
    command = client.post(f"/api/pictures/{name}/command", json=asked).json()["command"]
    export = finished(client, client.post(f"/api/pictures/{name}/exports", json=asked).json())
    answer = client.get(f"/api/exports/{export['name']}/file")
    assert "attachment" in answer.headers["content-disposition"]
    monkeypatch.chdir(tmp_path)
    python, program, *words = shlex.split(command)
    assert (python, program) == ("python", "demo.py")
    call(demo, *words)
    assert np.array_equal(picture_of(answer.content), np.array(Image.open(tmp_path / export["file"])))


def test_large_pictures_are_saved_though_they_do_not_fit_the_memory_as_a_whole(client, monkeypatch) -> None:
    monkeypatch.setattr(system, "available_memory", lambda: 50 << 20)
    asked = {"width": 90, "height": 70, "ending": ".png"}
    export = client.post(f"/api/pictures/{opened(client, png_of(blobs(400, 520)))}/exports", json=asked).json()
    finished(client, export)


def test_16_bits_stay_as_demo_writes_them(client, tmp_path) -> None:
    Image.fromarray(blobs(20, 24)[:, :, 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    name = opened(client, (tmp_path / "deep.png").read_bytes())
    asked = {"width": 48, "height": 40, "ending": ".png"}
    export = finished(client, client.post(f"/api/pictures/{name}/exports", json=asked).json())
    made = picture_of(client.get(f"/api/exports/{export['name']}/file").content)
    assert made.dtype == np.uint16
    difference = made.astype(int) - painted(tmp_path, tmp_path / "deep.png", "--scale", 2)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("level", [-3, 1])
def test_sizes_that_no_power_of_2_divides_are_rounded_up(client, tmp_path, level) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(png_of(blobs(41, 53)))
    assert level_size((41, 53), level) == tuple(math.ceil(n * 2.0**level) for n in (41, 53))
    tile = picture_of(tile_of(client, opened(client, photo.read_bytes()), level, 0, 0, "bicubic"))
    height, width = level_size((41, 53), level)
    whole = painted(tmp_path, photo, "--size", f"{width}x{height}", "--model", "bicubic")
    assert np.array_equal(tile, whole[:256, :256])


@pytest.mark.parametrize(("level", "channels"), [(-2, 3), (-1, 4), (0, 1), (1, 3), (3, 4)])
def test_pictures_too_large_to_be_encoded_whole_are_drawn_in_parts(monkeypatch, tmp_path, level, channels) -> None:
    """As those of a phone: each tile is encoded from the pixels around it, and is the same within a level of 8 bits."""
    monkeypatch.setattr(web.studio, "WHOLE_SHARE", 0.0)
    monkeypatch.setattr(web.studio, "FILTER_SHARE", 0.0)
    monkeypatch.setattr(web.studio, "TILE", 64)
    photo = tmp_path / "photo.png"
    photo.write_bytes(png_of(blobs(150, 190)[:, :, 0] if channels == 1 else blobs(150, 190, channels)))
    height, width = level_size((150, 190), level)
    with TestClient(create_app(Settings()), base_url=HOME) as client:
        name = opened(client, photo.read_bytes())
        assert client.post(f"/api/pictures/{name}/encode").status_code == 200
        column, row = (width // tile_side(level)) // 2, (height // tile_side(level)) // 2
        tile = picture_of(tile_of(client, name, level, column, row, "s")).astype(int)
        assert not any("encoding" in key for key in client.app.state.studio.budget._entries)
    whole = painted(tmp_path, photo, "--size", f"{width}x{height}", "--model", "s").astype(int)
    side = tile_side(level)
    tile, crop = (seen(part) for part in (tile, whole[row * side :, column * side :][:side, :side]))
    off = np.abs(tile - crop)
    assert off.max() <= 1
    assert (off > 0).mean() < 1e-3


def test_a_warp_of_a_large_picture_is_shown_from_a_reduced_one_nearly_the_same(client, monkeypatch) -> None:
    name = opened(client, png_of(blobs(400, 520)))
    path = f"/api/pictures/{name}/warp.png?matrix=0.12,0.01,9,-0.01,0.12,10,0,0,1&width=80&height=70&model=s"
    whole = picture_of(client.get(path).content).astype(int)
    monkeypatch.setattr(web.studio, "LARGEST_PART", 1000)
    reduced = picture_of(client.get(path).content).astype(int)
    assert any("warped" in key for key in client.app.state.studio.budget._entries)
    assert np.array_equal(whole[..., 3], reduced[..., 3])
    off = np.abs(whole - reduced)[whole[..., 3] == 255]
    assert off.max() <= 8
    assert off.mean() < 0.5


def test_a_tile_passes_few_files_of_the_project(client) -> None:
    """How many one has to read to follow it, beside those that are passed once for a picture and scale."""
    name = opened(client, png_of(blobs(40, 52)))
    tile_of(client, name, 3, 0, 0, "s")
    passed: set[str] = set()

    def watch(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(PROJECT)) and "site-packages" not in file and "/tests/" not in file:
            passed.add(file)

    studio = client.app.state.studio
    upload = studio.budget.get((name, "upload"))
    sys.setprofile(watch)
    try:
        studio.tile(name, upload, ("s",), 3, 1, 0, False)
    finally:
        sys.setprofile(None)
    assert len(passed) <= 20, "\n".join(sorted(passed))


def test_difference_and_scores(client) -> None:
    pixels = blobs(96, 128)
    name = opened(client, png_of(pixels), shrink=2)
    tile = f"/api/pictures/{name}/tiles/1/0/0"
    a, b = (picture_of(client.get(f"{tile}?model={model}").content).astype(int) for model in ("nearest", "bicubic"))
    apart = picture_of(client.get(f"{tile}?model=nearest&other=bicubic").content)
    assert np.array_equal(apart, (8 * abs(a - b)).clip(max=255))
    scores = client.get(f"/api/pictures/{name}/scores?model=nearest&right=0.5").json()
    mse = ((a - pixels) ** 2).mean()
    half = ((a - pixels)[:, :64] ** 2).mean()
    assert scores["whole"]["psnr"] == pytest.approx(10 * np.log10(255**2 / mse), abs=1e-4)
    assert scores["window"]["psnr"] == pytest.approx(10 * np.log10(255**2 / half), abs=1e-4)
    assert scores["pixels"] == [64, 96]
    reference = picture_of(client.get(f"{tile}?model=reference").content)
    assert np.array_equal(reference, pixels)


def test_what_was_begun_before_the_reference_was_replaced_is_not_shown_after() -> None:
    """A request looks its picture up, waits for others, and is computed when another reference has been chosen."""
    settings = Settings()
    studio, pixels = Studio(settings), [np.full((32, 40, 3), level, np.uint8) for level in (50, 200)]
    _, session = studio.begin()
    name = studio.add(session, open_upload(png_of(blobs(16, 20)), "x.png", settings))
    begun = []
    for level in pixels:
        studio.set_reference(session, name, open_upload(png_of(level), "r.png", settings))
        begun.append(studio.upload(session, name))
    for upload, level in zip(begun, pixels, strict=True):
        tile = picture_of(studio.tile(name, upload, ("reference",), 1, 0, 0, False))
        assert np.array_equal(tile, level)
        error = (
            (picture_of(studio.tile(name, upload, ("nearest",), 1, 0, 0, False)) - level.astype(float)) ** 2
        ).mean()
        psnr = studio.scores(name, upload, "nearest", (0, 0, 1, 1))["whole"]["psnr"]
        assert psnr == pytest.approx(10 * np.log10(255**2 / error), abs=1e-4)
