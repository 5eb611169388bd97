"""What can be seen of a training: speed, history, curves, and the strip of validation pictures."""

import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import datasets
import models
from models.upscaler import Upscaler
from tests.conftest import SMALL_LMLIIF
from training import report
from training.report import PLOT, STRIP_GAP, STRIP_SIDE, plot_history, validation_strip
from utils.config import merge
from utils.errors import InputError


def test_waiting_is_told_from_training(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def batches():
        for number in range(2):
            now[0] += 3
            yield number

    meter = report.Meter()
    assert meter.figures(4) == {}
    assert meter.left(10) is None
    for number in meter.waiting(batches()):
        now[0] += 7
        meter.add([math.inf if number else 2.0])  # float16 leaves out steps whose gradients overflow
    assert meter.figures(4) == {"gradient_norm": 2.0, "samples_per_second": 8 / 20, "waiting_share": 6 / 20}
    now[0] += 20  # validation
    assert meter.left(100) == "33 min"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5999, "1 h 40 min"), (1e6, "11 days 13 h")]
)
def test_durations(seconds, text) -> None:
    assert report.duration(seconds) == text


def test_the_history_goes_on_from_where_a_run_was_taken_up(tmp_path) -> None:
    for step, loss in ((10, 3.0), (20, 2.0), (30, 1.0), (20, 2.5)):  # killed, and taken up after step 10
        rows = report.add_to_history(tmp_path, {"epoch": step / 10, "step": step, "loss": loss})
    assert rows == report.read_rows(tmp_path / report.HISTORY) == [
        {"epoch": 1, "step": 10, "loss": 3.0}, {"epoch": 2, "step": 20, "loss": 2.5}
    ]  # fmt: skip
    report.add_to_history(tmp_path, {"epoch": 3, "step": 30, "loss": 2.0, "ssim": 0.9})
    assert [row.get("ssim") for row in report.read_rows(tmp_path / report.HISTORY)] == [None, None, 0.9]
    (tmp_path / report.HISTORY).write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"history\.csv is damaged"):
        report.read_rows(tmp_path / report.HISTORY)


def test_curves_are_cut_at_the_step_of_a_resumed_run(tmp_path) -> None:
    """With what a killed process has written of a line."""
    rows = [{"step": step, "lr": 1e-4, "loss": 1 / step, "gradient_norm": 0.5} for step in (9, 10, 11, 12)]
    report.cut_curves(tmp_path, 3)
    report.add_to_curves(tmp_path, rows[:2])
    report.add_to_curves(tmp_path, rows[2:])
    path = tmp_path / report.CURVES
    path.write_text(path.read_text()[:-20])
    report.cut_curves(tmp_path, 10)
    report.add_to_curves(tmp_path, rows[2:])
    assert [row["step"] for row in report.read_rows(path)] == [9, 10, 11, 12]
    assert report.read_rows(path)[3]["loss"] == pytest.approx(1 / 12)


def test_curves_go_where_the_numbers_go(tmp_path) -> None:
    """A falling loss falls from left to right; a panel more for a score, none for what is not a number."""
    history = [{"epoch": epoch, "step": epoch, "loss": 1 / epoch} for epoch in range(1, 9)]
    plot_history(tmp_path, history)
    picture = np.asarray(Image.open(tmp_path / PLOT).convert("RGB")).astype(int)
    blue = np.argwhere(picture[..., 2] - picture[..., 0] > 60)
    assert picture.shape[:2] == (300, 800)
    left, right = (blue[blue[:, 1] == column][0, 0] for column in (blue[:, 1].min(), blue[:, 1].max()))
    assert left < right - 150
    plot_history(tmp_path, [{**row, "psnr": 30 + row["epoch"]} for row in history])
    assert Image.open(tmp_path / PLOT).size == (800, 600)
    plot_history(tmp_path, [{"epoch": 1, "step": 1, "loss": 0.5, "psnr": math.inf}])  # a single point
    assert Image.open(tmp_path / PLOT).size == (800, 300)
    plot_history(tmp_path, [{"epoch": 1, "step": 1, "loss": math.nan}])
    assert not [path for path in tmp_path.iterdir() if path.name != PLOT]


def test_the_strip_shows_always_the_same_parts(pictures: Path) -> None:
    folder = {"name": "image-folder", "args": {"root_path": str(pictures)}}
    wrapper = {"name": "sr-implicit-downsampled", "args": {"inp_size": 8, "scale_max": 4, "sample_q": 16}}
    samples = datasets.make_wrapped({"dataset": folder, "wrapper": wrapper}, "val_dataset")
    torch.manual_seed(0)
    upscaler = Upscaler(models.make(SMALL_LMLIIF).eval())
    strip = validation_strip(upscaler, samples)
    assert torch.equal(validation_strip(upscaler, samples), strip)
    assert strip.shape[0] == 3
    assert strip.shape[1] > 3 * STRIP_GAP + 3 * 8
    assert strip.shape[2] <= 3 * (STRIP_SIDE + STRIP_GAP)
    with torch.no_grad():
        for parameter in upscaler.model.parameters():
            parameter.zero_()
    changed = (validation_strip(upscaler, samples) != strip).any(dim=0).any(dim=0).nonzero()
    assert 0 < changed.min() < changed.max() < strip.shape[2] * 2 / 3 + 1, "the middle column alone is the model's"


def test_dead_units_are_those_that_no_position_wakes() -> None:
    model = models.make(merge(SMALL_LMLIIF, {"args": {"imnet_spec": {"args": {"hidden_depth": 1}}}}))
    example = torch.rand(2, 3, 8, 8), torch.rand(2, 50, 2) * 2 - 1, torch.full((2, 2), 0.1)
    width, bias = model.imnet.hidden_dim, model.hypernet.layers[-1].bias
    with torch.no_grad():
        bias[width : 2 * width] = 1e3  # shifts
        assert report.dead_units(model, lambda: example) == 0
        bias[width : width + width // 2] = -1e3
        assert report.dead_units(model, lambda: example) == 0.5
    assert not any(layer._forward_pre_hooks for layer in model.imnet.layers)
    assert report.dead_units(models.make({"name": "bicubic"}), lambda: pytest.fail("no example is needed")) is None
