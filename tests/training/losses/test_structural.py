"""Losses of windows: what they see, what they do not, and that they refuse random points."""

import pytest
import torch

from models.normalization import Affine
from pictures.similarity import ssim
from tests.datasets.making import mistake
from training.losses import make_loss

WINDOW = (24, 20)


def queries(picture: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) -> (B, Q, C)."""
    return picture.flatten(2).transpose(1, 2)


@pytest.fixture
def target() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, *WINDOW, generator=generator)


def blur(picture: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(picture, 3, 1, 1, count_include_pad=False)


@pytest.mark.parametrize("name", ["fft", "ssim", "gradient-variance"])
def test_nothing_for_the_target_more_for_less_detail_and_a_gradient(target, name) -> None:
    loss = make_loss(name, WINDOW)
    soft = torch.lerp(target, blur(target), 0.5)
    losses = [loss(queries(picture), queries(target)).item() for picture in (target, soft, blur(target))]
    assert losses[0] == pytest.approx(0, abs=1e-6)
    assert losses[0] < losses[1] < losses[2]
    values = queries(soft).requires_grad_()
    loss(values, queries(target)).backward()
    assert torch.isfinite(values.grad).all()
    assert values.grad.abs().max() > 0


def test_amplitudes_are_those_of_whole_pictures_whatever_their_place(target) -> None:
    loss = make_loss("fft", WINDOW)
    moved = target.roll((5, 7), (2, 3))
    assert loss(queries(moved), queries(target)).item() == pytest.approx(0, abs=1e-5)
    assert loss(queries(target.transpose(2, 3)), queries(target)) > 0.05, "rows and columns are not mixed up"
    flat = torch.full_like(target, 0.5)
    assert loss(queries(flat), queries(flat + 0.1)).item() == pytest.approx(
        0.1 * (24 * 20) ** 0.5 / (24 * 11), rel=1e-3
    )


def test_ssim_is_that_of_the_metric_at_any_span(target) -> None:
    other = (target + 0.2 * torch.rand(target.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    expected = sum(ssim(x, y) for x, y in zip(other, target, strict=True)) / 2
    assert 1 - make_loss("ssim", WINDOW)(queries(other), queries(target)).item() == pytest.approx(expected, abs=1e-5)
    doubled = make_loss("ssim", WINDOW, Affine((0.5,), (0.5,)))(queries(2 * other), queries(2 * target)).item()
    assert 1 - doubled == pytest.approx(expected, abs=1e-5)


def test_variance_of_gradients_by_hand(target) -> None:
    """Of the luma, Sobel, over squares of 8x8."""
    loss = make_loss("gradient-variance", WINDOW)
    luma = (target * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    x = luma[:, :, 2:] - luma[:, :, :-2]  # (B, h, w - 2)
    x = x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]
    y = luma[:, 2:] - luma[:, :-2]
    y = y[:, :, :-2] + 2 * y[:, :, 1:-1] + y[:, :, 2:]
    variances = [
        torch.stack([g[:, i : i + 8, j : j + 8].flatten(1).var(1) for i in (0, 8) for j in (0, 8)]) for g in (x, y)
    ]
    flat = torch.full_like(target, 0.5)
    expected = sum(variance.square().mean() for variance in variances)
    assert loss(queries(flat), queries(target)).item() == pytest.approx(expected.item(), rel=1e-4)


def test_single_channels_and_mixtures(target) -> None:
    loss = make_loss({"l1": 1, "fft": 0.1, "ssim": 0.1, "gradient-variance": 0.01}, WINDOW)
    values, wanted = queries(blur(target))[..., :1], queries(target)[..., :1]
    parts = {
        name: make_loss(name, WINDOW)(values, wanted).item() for name in ("l1", "fft", "ssim", "gradient-variance")
    }
    weighted = parts["l1"] + 0.1 * parts["fft"] + 0.1 * parts["ssim"] + 0.01 * parts["gradient-variance"]
    assert loss(values, wanted).item() == pytest.approx(weighted, rel=1e-5)


def test_random_points_and_small_windows_are_refused() -> None:
    mistake(lambda: make_loss({"l1": 1, "fft": 0.1}), "loss 'fft'", "random points", "sample_window: true")
    mistake(lambda: make_loss("ssim", (10, 10)), "loss 'ssim'", "10x10", "sample_q to 121")
    mistake(lambda: make_loss("gradient-variance", (9, 20)), "gradient-variance", "sample_q to 100")
    mistake(lambda: make_loss("ffd"), "ffd")
