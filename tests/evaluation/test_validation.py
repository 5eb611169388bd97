"""Validation: the published mean, the mean over items, other metrics, flat pictures, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from evaluation.measure import measure_pair
from evaluation.metrics import make_metrics
from evaluation.protocols import find_protocol
from evaluation.validation import check_metrics, validate
from models import make
from models.checkpoints.loading import load_upscaler
from models.normalization import Affine, Normalization
from models.upscaler import Upscaler
from pictures.similarity import EXACT
from pictures.tensors import to_tensor
from tests.commands import ROOT
from tests.datasets.making import folder, mistake, wrapper, write_pictures
from utils.random_state import repeatable

RGB = find_protocol("rgb")
DOWNSAMPLED = "sr-implicit-downsampled"


@pytest.fixture
def nearest() -> Upscaler:
    return Upscaler(make({"name": "nearest"}))


def test_means_over_whole_pictures(pictures, nearest, lpips) -> None:
    samples, metrics = wrapper(DOWNSAMPLED, folder(pictures), scale_min=2), make_metrics(["psnr", "ssim", "lpips"])
    expected = {"psnr": [], "ssim": [], "lpips": []}
    for index in range(3):
        lr, hr = map(to_tensor, samples.pair(index))
        scores, picture = measure_pair(nearest, lr, hr, RGB)
        expected["psnr"].append(scores["psnr"])
        expected["ssim"].append(scores["ssim"])
        expected["lpips"].append((picture - hr).abs().mean().item())
    assert len(set(expected["psnr"])) == 3
    expected = {name: sum(values) / 3 for name, values in expected.items()}
    found = validate(nearest, samples, RGB, metrics=metrics)
    assert found == pytest.approx({**expected, "psnr_item": expected["psnr"]})
    assert validate(nearest, samples, RGB).keys() == {"psnr", "psnr_item"}


def test_the_published_mean_is_that_of_the_batches_errors() -> None:
    """For the shipped model on the sample pictures, as LIIF's program computes it: means over batches."""
    upscaler = load_upscaler("s")
    args = {"inp_size": 48, "scale_max": 4, "sample_q": 2304}
    samples = wrapper(DOWNSAMPLED, folder(ROOT / "load/samples"), **args)
    with repeatable():
        batches = list(DataLoader(samples, batch_size=4))
    errors = []
    with torch.inference_mode():
        for batch in batches:
            values = upscaler.model((batch["inp"] - 0.5) / 0.5, batch["coord"], batch["cell"]) * 0.5 + 0.5
            errors.append((values.clamp(0, 1) - batch["gt"]).pow(2).mean((1, 2)))
    assert [len(each) for each in errors] == [4, 2]
    published = sum(len(each) * -10 * each.mean().log10().item() for each in errors) / 6
    item = torch.cat([-10 * each.log10() for each in errors]).mean().item()
    found = validate(upscaler, samples, RGB, batch_size=4)
    assert found == pytest.approx({"psnr": published, "psnr_item": item}, abs=1e-3)
    assert item - published > 0.1


@pytest.mark.parametrize("queries", [{"scale_min": 2}, {"inp_size": 8, "scale_min": 2, "scale_max": 3, "sample_q": 16}])
def test_a_flat_picture_is_left_out(tmp_path, nearest, queries) -> None:
    flat = write_pictures(tmp_path / "flat", flat=(40, 40))
    Image.new("RGB", (40, 40), (90, 120, 30)).save(flat / "flat.png")
    assert validate(nearest, wrapper(DOWNSAMPLED, folder(flat), **queries), RGB)["psnr"] == EXACT
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(flat / "noise.png")
    found = validate(nearest, wrapper(DOWNSAMPLED, folder(flat), **queries), RGB)
    assert found["psnr"] < 40
    assert found["psnr_item"] == pytest.approx(found["psnr"])


def test_windows_are_pictures_and_the_same_each_time(pictures, nearest, lpips) -> None:
    samples = wrapper(DOWNSAMPLED, folder(pictures), inp_size=16, scale_max=3, sample_q=225, sample_window=True)
    metrics = make_metrics(["ssim", "lpips"])
    check_metrics(metrics, wrapper(DOWNSAMPLED, folder(pictures), scale_min=1))
    torch.rand(5)
    scores = validate(nearest, samples, RGB, 2, metrics=metrics)
    torch.rand(5)
    assert validate(nearest, samples, RGB, 2, metrics=metrics) == scores
    one = wrapper(DOWNSAMPLED, folder(pictures), inp_size=16, scale_min=1, sample_q=225, sample_window=True)
    found = validate(nearest, one, RGB, metrics=metrics)
    assert (found["ssim"], found["lpips"]) == pytest.approx((1, 0), abs=1e-5)


def test_what_cannot_be_measured_is_explained(pictures, monkeypatch) -> None:
    points = wrapper(DOWNSAMPLED, folder(pictures), inp_size=8, sample_q=16)
    small = wrapper(DOWNSAMPLED, folder(pictures), inp_size=8, sample_q=64, sample_window=True)
    ssim = make_metrics(["ssim"])
    check_metrics({}, points)
    mistake(lambda: check_metrics(ssim, None), "val_dataset")
    mistake(lambda: check_metrics(ssim, points), "random points", "sample_window: true")
    mistake(lambda: check_metrics(ssim, small), "ssim needs sides of 11", "has 8")


class Bright(torch.nn.Module):
    """Half of the LR picture's mean, in its normalised range, and 1.5 more in that of the targets."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, image, coord, cell):
        return self.inner(image, coord, cell) / 2 + 1.5


@pytest.mark.parametrize("over", [False, True])
def test_outputs_are_denormalised_as_targets_and_clipped(pictures, nearest, over, monkeypatch) -> None:
    """Of a model whose two normalisations differ, at queries; values above 1 count as 1."""
    norm = Normalization(Affine((0.0,), (1.0,)), Affine((0.2,), (0.6,) if over else (0.25,)))
    upscaler = Upscaler(nearest.model, norm)
    monkeypatch.setattr(upscaler, "model", Bright(nearest.model))
    samples = wrapper(DOWNSAMPLED, folder(pictures), inp_size=16, scale_min=2, sample_q=225)
    with repeatable():
        batches = list(DataLoader(samples, batch_size=1))
    errors = []
    for batch in batches:
        values = (nearest.model(batch["inp"], batch["coord"], batch["cell"]) / 2 + 1.5) * norm.gt.div[0] + 0.2
        assert (values.max() > 1) == over
        errors.append(-10 * (values.clamp(max=1) - batch["gt"]).double().square().mean().log10().item())
    assert validate(upscaler, samples, RGB)["psnr"] == pytest.approx(sum(errors) / 3, abs=1e-3)


def test_whole_pictures_are_denormalised_as_targets(pictures, nearest) -> None:
    norm = Normalization(Affine((0.0,), (1.0,)), Affine((0.1,), (0.5,)))
    samples = wrapper(DOWNSAMPLED, folder(pictures), scale_min=2)
    errors = []
    for index in range(3):
        lr, hr = map(to_tensor, samples.pair(index))
        picture = lr.repeat_interleave(2, 1).repeat_interleave(2, 2) * 0.5 + 0.1
        errors.append(-10 * (picture - hr).double().square().mean().log10().item())
    assert validate(Upscaler(nearest.model, norm), samples, RGB)["psnr"] == pytest.approx(sum(errors) / 3, abs=1e-3)
