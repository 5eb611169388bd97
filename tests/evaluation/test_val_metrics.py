"""SSIM and LPIPS during validation: what they measure, and what they refuse."""

import sys
from types import SimpleNamespace

import pytest
import torch

from evaluation.measure import measure_pair
from evaluation.metrics import find_protocol
from evaluation.val_metrics import check_metrics, extra_scores
from models import make
from models.upscaler import Upscaler
from pictures.tensors import to_tensor
from tests.datasets.making import folder, mistake, wrapper

RGB = find_protocol("rgb")
DOWNSAMPLED = "sr-implicit-downsampled"


class FakeLPIPS(torch.nn.Module):
    """As the package's: takes (1, 3, H, W) in [0, 1] with normalize."""

    def __init__(self, net: str, verbose: bool):
        super().__init__()
        assert (net, verbose) == ("alex", False)

    def forward(self, picture, target, normalize):
        assert normalize
        assert picture.shape == target.shape
        assert picture.dim() == 4
        return (picture - target).abs().mean().reshape(1, 1, 1, 1)


@pytest.fixture
def lpips(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=FakeLPIPS))


@pytest.fixture
def nearest() -> Upscaler:
    return Upscaler(make({"name": "nearest"}))


def test_means_over_whole_pictures(pictures, nearest, lpips) -> None:
    samples = wrapper(DOWNSAMPLED, folder(pictures), scale_min=2)
    expected = {"ssim": [], "lpips": []}
    for index in range(3):
        lr, hr = map(to_tensor, samples.pair(index))
        scores, picture = measure_pair(nearest, lr, hr, RGB)
        expected["ssim"].append(scores["ssim"])
        expected["lpips"].append((picture - hr).abs().mean().item())
    found = extra_scores(nearest, samples, ["ssim", "lpips"], RGB)
    assert found == pytest.approx({name: sum(values) / 3 for name, values in expected.items()})
    assert extra_scores(nearest, samples, ["ssim"], RGB).keys() == {"ssim"}


def test_windows_are_pictures_and_the_same_each_time(pictures, nearest, lpips) -> None:
    samples = wrapper(DOWNSAMPLED, folder(pictures), inp_size=16, scale_max=3, sample_q=225, sample_window=True)
    check_metrics(["ssim", "lpips"], wrapper(DOWNSAMPLED, folder(pictures), scale_min=1))
    torch.rand(5)
    scores = extra_scores(nearest, samples, ["ssim", "lpips"], RGB)
    torch.rand(5)
    assert extra_scores(nearest, samples, ["ssim", "lpips"], RGB) == scores
    one = wrapper(DOWNSAMPLED, folder(pictures), inp_size=16, scale_min=1, sample_q=225, sample_window=True)
    assert extra_scores(nearest, one, ["ssim", "lpips"], RGB) == pytest.approx({"ssim": 1, "lpips": 0}, abs=1e-5)


def test_what_cannot_be_measured_is_explained(pictures, monkeypatch) -> None:
    points = wrapper(DOWNSAMPLED, folder(pictures), inp_size=8, sample_q=16)
    small = wrapper(DOWNSAMPLED, folder(pictures), inp_size=8, sample_q=64, sample_window=True)
    check_metrics([], points)
    mistake(lambda: check_metrics(["sim"], points), "'sim'", "'ssim'")
    mistake(lambda: check_metrics(["ssim"], None), "val_dataset")
    mistake(lambda: check_metrics(["ssim"], points), "random points", "sample_window: true")
    mistake(lambda: check_metrics(["ssim"], small), "ssim needs sides of 11", "has 8")
    whole = wrapper(DOWNSAMPLED, folder(pictures), scale_min=1)
    monkeypatch.setitem(sys.modules, "lpips", None)
    mistake(lambda: check_metrics(["lpips"], whole), "lpips needs one more package", "pip install lpips")

    def offline(net, verbose):
        raise OSError("no network")

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=offline))
    mistake(lambda: check_metrics(["lpips"], whole), "weights of AlexNet", "no network", "checkpoints")
