"""Metrics and protocols."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import models
from evaluation.measure import rendered
from evaluation.metrics import make_metrics
from evaluation.protocols import PROTOCOLS, find_protocol, parse_eval_type
from models.upscaler import Upscaler
from pictures.similarity import EXACT, psnr, ssim
from tests.commands import ROOT
from tests.datasets.making import mistake
from utils.errors import InputError


def test_psnr_of_known_error() -> None:
    assert psnr(torch.full((3, 4, 4), 0.6), torch.full((3, 4, 4), 0.5)) == pytest.approx(20, abs=1e-4)
    assert psnr(torch.ones(3), torch.ones(3)) == math.inf


@pytest.mark.parametrize("name", ["benchmark-8bit", "lerf"])
@pytest.mark.parametrize(("picture", "corner"), [("tulips", (60, 60)), ("astronaut", (40, 200)), ("coffee", (0, 100))])
def test_luma_of_coloured_pictures_is_pillows(name, picture, corner) -> None:
    """Pillow's luma has the same weights and spans 255 levels instead of 219; blue and red exchanged are far off."""
    with Image.open(ROOT / f"load/samples/{picture}.png") as whole:
        hr = whole.convert("RGB").crop((*corner, corner[0] + 96, corner[1] + 96))
    red_off = np.array(hr).astype(int)
    red_off[..., 0] = (red_off[..., 0] * 0.8 + 20).round()
    made = Image.fromarray(red_off.astype(np.uint8))
    pairs = [(image, image.crop((2, 2, 94, 94)).convert("YCbCr").getchannel(0)) for image in (made, hr)]
    error = np.square(np.subtract(*(np.array(luma, dtype=float) for _, luma in pairs))).mean()
    expected = 10 * math.log10(255**2 / error) + 20 * math.log10(255 / 219)
    values = [torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 for image, _ in pairs]
    assert find_protocol(name).measure(*values, (2, 2))["psnr"] == pytest.approx(expected, abs=0.15)
    exchanged = find_protocol(name).measure(*(value.flip(0) for value in values), (2, 2))["psnr"]
    assert exchanged > expected + 6


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
    bottom, right = 40 - border, 44 - border
    wrong_outside = 1 - target
    wrong_outside[:, border:bottom, border:right] = target[:, border:bottom, border:right]
    assert protocol.measure(wrong_outside, target, (4, 4))["psnr"] == EXACT
    for y, x in ((border, border), (bottom - 1, right - 1)):
        wrong = wrong_outside.clone()
        wrong[:, y, x] += 0.5
        assert protocol.measure(wrong, target, (4, 4))["psnr"] < EXACT


@pytest.mark.parametrize("name", ["div2k", "benchmark", "benchmark-8bit"])
def test_a_fraction_of_a_scale_shaves_a_whole_pixel(name) -> None:
    border = 4 + (6 if name == "div2k" else 0)
    protocol, target = find_protocol(name), torch.rand(3, 40, 44)
    wrong = target.clone()
    wrong[:, border - 1] = 1 - wrong[:, border - 1]
    assert protocol.measure(wrong, target, (2, 3.1))["psnr"] == EXACT
    assert protocol.measure(wrong, target, (2, 3))["psnr"] < EXACT


def test_quantised_protocol_rounds_first() -> None:
    target = torch.full((3, 20, 20), 100 / 255)
    almost = target + 0.4 / 255
    assert find_protocol("benchmark-8bit").measure(almost, target, (2, 2))["psnr"] == EXACT
    assert find_protocol("benchmark").measure(almost, target, (2, 2))["psnr"] < 60


def test_lerf_protocol_shaves_for_psnr_only() -> None:
    protocol, target = find_protocol("lerf"), torch.rand(3, 40, 44)
    wrong_outside = target.clone()
    wrong_outside[:, :2] = 1 - wrong_outside[:, :2]
    scores = protocol.measure(wrong_outside, target, (1.5, 2.9))
    assert scores["psnr"] == EXACT
    assert scores["ssim"] < 0.9999
    assert protocol.measure(wrong_outside, target, (1.5, 1.9))["psnr"] < EXACT
    almost = (target * 255).round() / 255 + 0.4 / 255
    assert protocol.measure(almost, (target * 255).round() / 255, (1, 1))["psnr"] == EXACT


def test_mpsnr_counts_the_mask_only() -> None:
    protocol, target, mask = find_protocol("lerf"), torch.rand(3, 20, 20), torch.zeros(20, 20, dtype=torch.bool)
    mask[3:9, 5:7] = True
    picture = torch.where(mask, target, 1 - target)
    assert protocol.measure_warped(picture, target, mask)["mpsnr"] == EXACT
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
    for height, width in ((20, 20), (20, 44), (44, 20)):  # 10 pixels a side leave nothing
        with pytest.raises(InputError, match="too small"):
            find_protocol("div2k").measure(torch.rand(3, height, width), torch.rand(3, height, width), (4, 4))


def test_metrics_by_name_with_arguments(lpips, monkeypatch) -> None:
    made = make_metrics(["psnr", "mae", {"lpips": {"net": "alex"}}])
    picture, target = torch.full((3, 40, 40), 0.6), torch.full((3, 40, 40), 0.5)
    scores = find_protocol("benchmark").measure(picture, target, (2, 2), made)
    luma_gain = (65.738 + 129.057 + 25.064) / 256
    assert scores["mae"] == pytest.approx(25.5 * luma_gain, abs=1e-4)
    assert scores["lpips-alex"] == pytest.approx(0.1, abs=1e-6)  # of RGB, not luma
    assert [m.lower_is_better for m in made.values()] == [False, True, True]
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    for spec, words in (
        (["sim"], ["'sim'", "'ssim'", "pyiqa"]),
        ([{"lpips": {"net": "vgg16"}}], ["net", "'vgg'"]),
        (["mae", "mae"], ["mae stands twice"]),
        ([3], ["expected a name"]),
    ):
        mistake(lambda spec=spec: make_metrics(spec), *words)


def test_lpips_without_its_package_or_weights(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    mistake(lambda: make_metrics(["lpips"]), "lpips needs one more package", "pip install lpips")

    def offline(net, verbose):
        raise OSError("no network")

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=offline))
    mistake(lambda: make_metrics(["lpips"]), "weights of its network", "no network", "checkpoints")


class FakeIQA(torch.nn.Module):
    """As pyiqa's: takes two (1, 3, H, W) in [0, 1]."""

    lower_better = True

    def forward(self, picture, target):
        assert picture.shape[:2] == target.shape[:2] == (1, 3)
        return (picture - target).abs().amax(keepdim=True)[0, 0, 0]


def test_names_of_pyiqa(monkeypatch) -> None:
    def create(name, device, **arguments):
        if arguments:
            raise TypeError(f"unexpected {arguments}")
        return FakeIQA()

    package = SimpleNamespace(list_models=lambda: ["dists", "niqe"], create_metric=create)
    monkeypatch.setitem(sys.modules, "pyiqa", package)
    made = make_metrics(["dists"])
    assert made["dists"].lower_is_better
    scores = find_protocol("div2k").measure(torch.full((3, 40, 40), 0.75), torch.full((3, 40, 40), 0.5), (4, 4), made)
    assert scores == {"dists": 0.25}
    mistake(lambda: make_metrics(["dist"]), "'dist'", "'dists'")
    mistake(lambda: make_metrics([{"dists": {"x": 1}}]), "dists", "unexpected")


def test_values_outside_of_a_picture_are_clipped_on_both_sides() -> None:
    outside = torch.tensor([-0.5, 0.5, 1.5]).expand(3, 4, 3)
    for protocol in PROTOCOLS.values():
        assert protocol.values(outside)[0, 0].tolist() == pytest.approx([0, 0.5, 1], abs=1 / 255)


def test_an_lr_picture_of_another_scale_is_refused() -> None:
    bilinear = Upscaler(models.make({"name": "bilinear"}))
    lr = torch.rand(3, 20, 30)
    for height, width in ((40, 60), (37, 60), (45, 60), (40, 64)):
        assert rendered(bilinear, lr, torch.rand(3, height, width), (2, 2), None).shape == (3, height, width)
    for height, width in ((47, 60), (80, 60), (40, 80), (33, 60), (40, 40)):
        with pytest.raises(InputError, match=f"scale 2: LR is 30x20, HR {width}x{height}"):
            rendered(bilinear, lr, torch.rand(3, height, width), (2, 2), None)
