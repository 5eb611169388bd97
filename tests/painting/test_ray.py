"""`Upscale` in the real Ray: mixed sizes, a broken picture, and the values of one process."""

import numpy as np
import pytest

from painting.in_memory import Upscale, load
from tests.commands import ROOT
from tests.pictures.making import noise

ray = pytest.importorskip("ray", reason="needs ray")
pytestmark = pytest.mark.slow


def test_batches_in_workers() -> None:
    pictures = [noise(8 + number % 3, 9, 3) for number in range(24)]
    rows = [{"image": picture, "number": number} for number, picture in enumerate(pictures)]
    rows[5]["image"] = np.zeros((2, 3, 9), np.uint8)
    ray.init(num_cpus=1, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
    try:
        made = ray.data.from_items(rows).map(Upscale("bicubic", scale=2, raises=False)).take_all()
    finally:
        ray.shutdown()
    expected = load("bicubic")
    for row in made:
        number = row["number"]
        if number == 5:
            assert "no picture" in row["error"]
        else:
            assert np.array_equal(row["image"], expected(pictures[number], scale=2))
    assert len(made) == 24
