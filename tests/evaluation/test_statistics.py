"""Means, intervals and differences over the pictures of a set."""

import numpy as np
import pytest

from evaluation.statistics import differences, estimate, estimates, exact_pictures, means


def rows(*scores: tuple[float, float]) -> dict:
    return {
        f"{n}": {"a": {"psnr": a, "ssim": a / 100}, "b": {"psnr": b, "ssim": b / 100}}
        for n, (a, b) in enumerate(scores)
    }


def test_the_interval_is_that_of_the_mean() -> None:
    """Of many normal scores: 1.96 standard errors to either side."""
    scores = np.random.default_rng(1).normal(30, 2, 400)
    found = estimate(scores)
    assert found.mean == pytest.approx(scores.mean())
    assert found.low == pytest.approx(scores.mean() - 1.96 * scores.std() / 20, abs=0.02)
    assert found.high == pytest.approx(scores.mean() + 1.96 * scores.std() / 20, abs=0.02)
    assert estimate(scores) == found
    assert estimate(np.array([3.0]))[1:] == (None, None)


def test_differences_are_those_of_the_same_pictures() -> None:
    """Scores that are far apart, and differ by the same each: nothing is uncertain about the difference."""
    found = differences(rows((20, 21), (40, 41), (30, 31)), ["psnr"])
    assert found == {"b": {"psnr": pytest.approx((1, 1, 1))}}
    low, high = estimates(rows((20, 21), (40, 41), (30, 31)), ["psnr"])["a"]["psnr"][1:]
    assert high - low > 5


def test_pictures_that_one_model_renders_exactly_count_for_none() -> None:
    flat = rows((20, 21), (80, 50), (30, 31))
    assert exact_pictures(flat) == ["1"]
    assert means(flat) == {"a": {"psnr": 25, "ssim": 0.25}, "b": {"psnr": 26, "ssim": 0.26}}
    assert exact_pictures(rows((80, 80))) == []
    assert means(rows((80, 80)))["a"]["psnr"] == 80
