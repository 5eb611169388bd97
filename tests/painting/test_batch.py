"""Bars for single pictures: what is counted comes to the whole, and short work shows nothing."""

import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from tqdm import tqdm

import demo
import models
from models import Upscaler
from painting import batch, lut_engine
from painting.batch import stage_bars
from pictures.picture import Picture
from pictures.writing import write_picture
from tests.commands import call
from tests.conftest import Listener
from tests.pictures.making import noise
from tests.registered import small_spec
from utils import progress
from utils.geometry.grids import Grid
from utils.geometry.homographies import Homography
from utils.progress import SLOW

GRIDS = {
    "plain": Grid.of_size((70, 90)),
    "turned": Homography.rotation(90, (31, 40), (70, 90), (2, 2)).grid((31, 40), (70, 90)),
}


@pytest.mark.parametrize("name", ["lmliif", "liif", "metasr", "lerf-net"])
@pytest.mark.parametrize("grid", GRIDS)
def test_rows_are_counted_once(name, grid) -> None:
    upscaler = Upscaler(models.make(small_spec(name)).eval())
    if name.startswith("lm"):
        upscaler.model.pixels_at_a_time = lambda latent: (11, 13)
    listener = Listener()
    with progress.told_to(listener):
        upscaler(torch.rand(3, 31, 40), GRIDS[grid])
    assert listener.stages[-1] == ("painting", 70 * 90)
    painted = sum(listener.counted[-1])
    if grid == "plain":
        assert painted == pytest.approx(70 * 90)
    else:
        assert 0.3 * 70 * 90 < painted <= 70 * 90  # what lies outside the picture is not painted
    if upscaler.model.encodes:
        assert listener.stages[0] == ("encoding", 31)
        assert sum(listener.counted[0]) == pytest.approx(31)
        assert len(listener.counted[0]) > 3
        assert not any(layer._forward_hooks for layer in upscaler.model.modules())


def test_bars_wait_for_two_seconds_of_work_and_count_to_their_end(monkeypatch) -> None:
    clock, made = [100.0], []
    monkeypatch.setattr(batch.time, "monotonic", lambda: clock[0])

    def make(**options: object) -> tqdm:
        made.append((options["delay"], tqdm(file=io.StringIO(), **{**options, "disable": False})))
        return made[-1][1]

    with progress.told_to(stage_bars(make)):
        for name in ("encoding", "painting", "writing"):
            with progress.stage(name, 10):
                clock[0] += SLOW * 0.75
                for _ in range(4):
                    progress.advance(3)  # 12 of 10: the last counts less
    assert [delay for delay, _ in made] == [SLOW, SLOW * 0.25, 0]
    assert [bar.n for _, bar in made] == [10] * 3


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("model", ["lanczos", "lerf-g"])
def test_demo_tells_of_a_single_picture_alone(monkeypatch, model) -> None:
    for name in ("one", "two"):
        write_picture(f"in/{name}.png", Picture(noise(40, 30, 3), "RGB"))
    listener = Listener()
    monkeypatch.setattr(batch, "stage_bars", lambda: listener)
    monkeypatch.setattr(lut_engine, "BAND_PIXELS", 1)
    call(demo, "--input", "in", "--output", "out", "--scale", "4", "--model", model)
    assert not listener.stages
    call(demo, "--input", "in/one.png", "--output", "whole.png", "--scale", "4", "--model", model)
    assert listener.stages == [("painting", 160 * (120 if model == "lanczos" else 1))]
    if model == "lerf-g":
        assert sum(listener.counted[0]) == 160
        assert [*map(len, listener.counted)] in ([3], [1])  # by the C runtime in bands
        assert Path("whole.png").read_bytes() == Path("out/one.png").read_bytes()


@pytest.mark.usefixtures("empty_folder")
def test_an_animation_counts_frames_alone(monkeypatch) -> None:
    frames = [Image.fromarray(noise(9, 8, 3)), Image.new("RGB", (8, 9)), Image.new("RGB", (8, 9), "red")]
    frames[0].save("in.gif", save_all=True, append_images=frames[1:])
    listener = Listener()
    monkeypatch.setattr(batch, "stage_bars", lambda: listener)
    call(demo, "--input", "in.gif", "--output", "o.gif", "--scale", "2", "--model", "lanczos")
    assert (listener.stages, listener.counted) == ([("frames", 3)], [[1, 1, 1]])
