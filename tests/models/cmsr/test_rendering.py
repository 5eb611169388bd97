"""Controlled rendering: the published programs' pictures, batches, any scale, row chunks."""

from dataclasses import replace

import pytest
import torch

import models
from datasets.wrappers import whole_sizes
from evaluation.protocols import find_protocol
from models import computing
from models.checkpoints.loading import load_upscaler
from models.cmsr.rendering import Level, level_size, needed_levels, render_controlled
from models.upscaler import Upscaler
from pictures.reading import read_rgb
from pictures.tensors import resize_bicubic, to_tensor
from tests.commands import ROOT
from tests.conftest import SMALL_LMLIIF
from tests.golden_cases import arrays, assert_close, fill, manifest, painted
from utils.geometry.grids import Grid, sample_nearest

CASES = manifest("cmsr")
LEVELS = [Level(1, 0.01), Level(2, 0.02), Level(4, 0.03), Level(8, 1)]


def field_for(model, image, size):
    latent = model.encode(image)
    return model.field(latent, model.cell(latent, Grid.of_size(size)))


def controlled_picture(model, image, size, levels):
    """`render_controlled` of a normalised picture, and its picture normalised again."""
    controlled = render_controlled(Upscaler(model), model.encode(image), size, levels)
    return replace(controlled, picture=controlled.picture * 2 - 1)


@pytest.mark.parametrize("name", CASES)
def test_golden_pictures_and_intensities(name) -> None:
    case, stored = CASES[name], arrays("cmsr", name)
    model, image, size = fill(models.make(case["model"])), stored["image"], tuple(case["output_size"])
    (table,) = case["table"].values()
    levels = [Level(float(scale), threshold) for scale, threshold in table.items()]
    with torch.inference_mode():
        field = field_for(model, image, size)
        assert_close(model.intensity(field)[0], stored["intensity"], 1e-5)
        assert_close(painted(model, field, Grid.of_size(size))[0], stored["full"], 1e-4)
        controlled = controlled_picture(model, image, size, levels)
    cut = case["scale"]  # one LR pixel: the published positions are flattened in the outer half
    expected = stored["output"][:, cut:-cut, cut:-cut].clamp(-1, 1)
    assert_close(controlled.picture[:, cut:-cut, cut:-cut], expected, 1e-4)
    assert (controlled.picture - stored["full"]).abs().max() > 1e-2
    assert 0 < controlled.share < 1
    expected = sum(
        int((controlled.level == i).sum()) * min(scale, case["scale"]) ** 2 for i, scale in enumerate(controlled.scales)
    )
    assert controlled.queries == expected


@pytest.fixture
def model():
    torch.manual_seed(0)
    return models.make(SMALL_LMLIIF).eval()


def spread_levels(model, field, scales):
    """Thresholds at the quantiles, so that every level has its share."""
    quantiles = torch.linspace(0, 1, len(scales) + 1)[1:]
    # A little beside the values themselves: rounding must not decide on which side of its threshold a pixel lies.
    return [Level(s, float(model.intensity(field).quantile(q)) + 1e-5) for s, q in zip(scales, quantiles, strict=True)]


@pytest.mark.parametrize(("band_bytes", "lr_skip"), [(5000, True), (1 << 30, False)])
def test_bands_change_nothing(monkeypatch, band_bytes, lr_skip) -> None:
    torch.manual_seed(0)
    model = models.make({"name": "lmliif", "args": {**SMALL_LMLIIF["args"], "lr_skip": lr_skip}}).eval()
    image, size = torch.rand(1, 3, 9, 11), (round(9 * 5.5), round(11 * 7.3))
    with torch.inference_mode():
        field = field_for(model, image, size)
        levels = spread_levels(model, field, (1, 1.5, 3, 8))
        expected = controlled_picture(model, image, size, levels)
        monkeypatch.setattr(computing, "CHUNK_BYTES", band_bytes)
        made = controlled_picture(model, image, size, levels)
    assert_close(made.picture, expected.picture, 1e-5)
    assert made.queries == expected.queries
    assert set(made.level.flatten().tolist()) == {0, 1, 2, 3}


def test_one_level_for_all_is_full_rendering_and_one_below_the_target_is_enlarged(model) -> None:
    image, size = torch.rand(1, 3, 7, 8), (40, 50)
    before = image.clone()
    with torch.inference_mode():
        field = field_for(model, image, size)
        controlled = controlled_picture(model, image, size, [Level(8, 1)])
        assert_close(controlled.picture, painted(model, field, Grid.of_size(size))[0].clamp(-1, 1), 1e-6)
        below = controlled_picture(model, image, size, LEVELS[:2])
    assert controlled.share == 1
    assert (below.picture.shape, below.queries <= 4 * 56) == (controlled.picture.shape, True)
    assert torch.equal(image, before)  # levels are painted in place, but not into the caller's picture


def test_pixels_wanted_at_the_target_are_those_of_full_rendering(model) -> None:
    """Also through the path for scattered regions, whose spans end at LR pixels."""
    image, size = torch.rand(1, 3, 9, 8), (50, 44)
    with torch.inference_mode():
        field = field_for(model, image, size)
        full = painted(model, field, Grid.of_size(size))[0].clamp(-1, 1)
        controlled = controlled_picture(model, image, size, spread_levels(model, field, (1, 8)))
    coord = Grid.of_size(size).coord().flatten(0, 1)[None]
    wanted = sample_nearest((controlled.level == 1)[None, ..., None], coord)[0, :, 0].unflatten(0, size).expand_as(full)
    assert 0.2 < wanted.float().mean() < 0.8
    assert_close(controlled.picture[wanted], full[wanted], 1e-5)


def test_levels_end_at_the_target() -> None:
    assert [level.scale for level in needed_levels(LEVELS, (10, 10), (35, 40))] == [1, 2, 4]
    assert [level.scale for level in needed_levels(LEVELS, (10, 10), (200, 200))] == [1, 2, 4, 8]
    assert level_size(4, (10, 10), (25, 200)) == (25, 40)
    assert level_size(1.5, (9, 11), (90, 110)) == (14, 16)
    assert level_size(1.5, (9, 11), (90, 110), truncates=True) == (13, 16)


def test_levels_that_a_picture_does_not_need_leave_it_as_it_is(model) -> None:
    image, size = torch.rand(1, 3, 9, 8), (50, 44)
    with torch.inference_mode():
        middle = float(model.intensity(field_for(model, image, size)).median()) + 1e-5
        levels = [Level(1, middle), Level(1.5, middle), Level(8, 1)]
        made = controlled_picture(model, image, size, levels)
        expected = controlled_picture(model, image, size, [levels[0], levels[2]])
    assert set(made.level.flatten().tolist()) == {0, 2}
    assert_close(made.picture, expected.picture, 1e-6)


def test_the_published_score_on_set5(shared) -> None:
    """LMF's program with a table of its own: 25.553 dB at x6."""
    upscaler = load_upscaler(ROOT / "tests/golden/cmsr_tables/model.pth")
    levels = [Level(scale, threshold) for scale, threshold in ((1, 0.08), (1.5, 0.08), (2, 0.32), (3, 0.34), (4, 1))]
    scores = []
    for path in sorted((shared / "data/Set5/HR").glob("*.png")):
        hr = read_rgb(path)
        lr_size, (height, width) = whole_sizes(hr.shape[:2], (6, 6))
        latent = upscaler.encode(to_tensor(resize_bicubic(hr[:height, :width], lr_size)))
        picture = render_controlled(upscaler, latent, (height, width), levels, truncates=True).picture
        scores.append(find_protocol("benchmark").measure(picture, to_tensor(hr[:height, :width]), (6, 6))["psnr"])
    assert sum(scores) / 5 == pytest.approx(25.553, abs=0.001)
