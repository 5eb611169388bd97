"""PSNR, SSIM, protocols."""

import math

import pytest
import torch

from evaluation.metrics import find_protocol, luma, parse_eval_type, psnr, ssim
from utils.errors import InputError


def test_psnr_of_known_error() -> None:
    assert psnr(torch.full((3, 4, 4), 0.6), torch.full((3, 4, 4), 0.5)) == pytest.approx(20, abs=1e-4)
    assert psnr(torch.ones(3), torch.ones(3)) == math.inf


def test_luma_weights() -> None:
    assert luma(torch.ones(3, 1, 1)).item() == pytest.approx((16 + 65.738 + 129.057 + 25.064) / 256)
    green = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    assert luma(green).item() == pytest.approx((16 + 129.057) / 256)


def test_ssim_against_its_definition() -> None:
    """On an 11x11 picture "valid" leaves one window: the formula can be written down directly."""
    torch.manual_seed(0)
    x, y = torch.rand(1, 11, 11, dtype=torch.float64), torch.rand(1, 11, 11, dtype=torch.float64)
    g = torch.tensor([math.exp(-((i - 5) ** 2) / 4.5) for i in range(11)], dtype=torch.float64)
    w = torch.outer(g, g) / g.sum() ** 2
    mx, my = (w * x[0]).sum(), (w * y[0]).sum()
    vx, vy = (w * x[0] ** 2).sum() - mx**2, (w * y[0] ** 2).sum() - my**2
    c = (w * x[0] * y[0]).sum() - mx * my
    expected = (2 * mx * my + 1e-4) * (2 * c + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert ssim(x, y) == pytest.approx(expected.item(), abs=1e-9)
    assert ssim(x, x) == pytest.approx(1)
    assert math.isnan(ssim(x[:, :10], x[:, :10]))


@pytest.mark.parametrize(("name", "border"), [("rgb", 0), ("div2k", 10), ("benchmark", 4)])
def test_shave_ignores_exactly_the_border(name, border) -> None:
    protocol, target = find_protocol(name), torch.rand(3, 40, 44)
    wrong_outside = target.clone()
    if border:
        wrong_outside[:, :border] = 1 - wrong_outside[:, :border]
        wrong_outside[:, :, -border:] = 1 - wrong_outside[:, :, -border:]
    assert protocol.measure(wrong_outside, target, (4, 4))["psnr"] == math.inf
    wrong_outside[:, border, border] += 0.5
    assert protocol.measure(wrong_outside, target, (4, 4))["psnr"] < math.inf


def test_quantised_protocol_rounds_first() -> None:
    target = torch.full((3, 20, 20), 100 / 255)
    almost = target + 0.4 / 255
    assert find_protocol("benchmark-8bit").measure(almost, target, (2, 2))["psnr"] == math.inf
    assert find_protocol("benchmark").measure(almost, target, (2, 2))["psnr"] < 60


def test_lerf_protocol_shaves_for_psnr_only() -> None:
    protocol, target = find_protocol("lerf"), torch.rand(3, 40, 44)
    wrong_outside = target.clone()
    wrong_outside[:, :2] = 1 - wrong_outside[:, :2]
    scores = protocol.measure(wrong_outside, target, (1.5, 2.9))
    assert scores["psnr"] == math.inf
    assert scores["ssim"] < 0.9999
    assert protocol.measure(wrong_outside, target, (1.5, 1.9))["psnr"] < math.inf
    almost = (target * 255).round() / 255 + 0.4 / 255
    assert protocol.measure(almost, (target * 255).round() / 255, (1, 1))["psnr"] == math.inf


def test_mpsnr_counts_the_mask_only() -> None:
    protocol, target, mask = find_protocol("lerf"), torch.rand(3, 20, 20), torch.zeros(20, 20, dtype=torch.bool)
    mask[3:9, 5:7] = True
    picture = torch.where(mask, target, 1 - target)
    assert protocol.measure_warped(picture, target, mask)["mpsnr"] == math.inf
    picture[1, 4, 6] = (target[1, 4, 6] + 0.5) % 1
    expected = psnr((picture * 255).round()[:, mask] / 255, (target * 255).round()[:, mask] / 255)
    assert protocol.measure_warped(picture, target, mask)["mpsnr"] == pytest.approx(expected)
    with pytest.raises(InputError, match="no pixel"):
        protocol.measure_warped(picture, target, ~mask & mask)


def test_names() -> None:
    assert parse_eval_type("div2k-4")[0].name == "div2k"
    assert parse_eval_type("benchmark-3") == (find_protocol("benchmark"), 3)
    assert parse_eval_type("benchmark-8bit") == (find_protocol("benchmark-8bit"), None)
    assert parse_eval_type(None) == (find_protocol("rgb"), None)
    with pytest.raises(InputError, match="did you mean 'benchmark'"):
        parse_eval_type("benchmrk-2")
    with pytest.raises(InputError, match="too small"):
        find_protocol("div2k").measure(torch.rand(3, 20, 20), torch.rand(3, 20, 20), (4, 4))
