"""Edges of warps: the share of a pixel inside the picture, and parts that equal the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from models import Upscaler
from painting.edges import coverage, spread
from painting.layers import drawing, drawn_on, paint, with_outside
from pictures.tensors import Layers
from tests.registered import small_spec
from utils.geometry.homographies import Homography
from utils.geometry.matrices import rotation_matrix

FINE = 16  # samples along a side of a pixel


def sampled(matrix: np.ndarray, input_size: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The share by counting samples."""
    y, x = ((np.arange(n * FINE) + 0.5) / FINE - 0.5 for n in size)
    points = np.stack(np.broadcast_arrays(x, y[:, None], 1.0))
    u, v, w = np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), points)
    w = w * np.sign(np.linalg.inv(matrix)[2] @ matrix @ [(input_size[1] - 1) / 2, (input_size[0] - 1) / 2, 1])
    inside = (np.abs(u / w - (input_size[1] - 1) / 2) < input_size[1] / 2) & (w > 0)
    inside &= np.abs(v / w - (input_size[0] - 1) / 2) < input_size[0] / 2
    return inside.reshape(size[0], FINE, size[1], FINE).mean((1, 3))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.floats(-180, 180), st.floats(0.6, 4), st.floats(-0.004, 0.004))
def test_coverage_is_the_area_inside(degrees, scale, depth) -> None:
    matrix = rotation_matrix(degrees, (20, 30), (50, 60), (scale, 1.5)) @ np.array(
        [[1, 0, 0], [0, 1, 0], [depth, 0, 1]]
    )
    expected, found = sampled(matrix, (20, 30), (50, 60)), coverage(matrix, (20, 30), (50, 60))
    assert np.abs(found - expected).max() < 0.2  # at corners, which are products
    edges = (expected > 0) & (expected < 1)
    assert np.abs(found - expected)[edges].mean() < 0.03
    assert found[expected == 1].min(initial=1) > 0.9
    assert found[expected == 0].max(initial=0) < 0.1


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_quarter_turns_cover_all(degrees) -> None:
    size = (20, 30) if degrees % 180 == 0 else (30, 20)
    assert (coverage(rotation_matrix(degrees, (20, 30), size), (20, 30), size) == 1).all()
    shifted = coverage(np.array([[1, 0, 4.25], [0, 1, 0], [0, 0, 1.0]]), (20, 30), (20, 40))
    assert shifted[3].tolist() == [0] * 4 + [0.75] + [1] * 29 + [0.25] + [0] * 5


def test_colours_spread_by_one_pixel() -> None:
    pixels, inside = np.zeros((4, 5, 1), np.uint8), np.zeros((4, 5), bool)
    pixels[1, 1], inside[1, 1] = 9, True
    covered = np.full((4, 5), 0.5, np.float32)
    covered[2, 2] = 0
    spread(pixels, inside, covered)
    assert pixels[..., 0].tolist() == [[9, 9, 9, 0, 0], [9, 9, 9, 0, 0], [9, 9, 0, 0, 0], [0, 0, 0, 0, 0]]


def test_parts_of_a_warp_have_the_edges_of_the_whole() -> None:
    torch.manual_seed(0)
    upscaler, layers = Upscaler(models.make(small_spec("lanczos")).eval()), Layers(torch.rand(3, 21, 25))
    whole = Homography.rotation(33, (21, 25), (60, 70), (2, 2)).grid((21, 25), (60, 70))

    def painted(grid: object) -> Layers:
        drawn, covered = drawn_on(grid, lambda grid: paint(upscaler, layers, drawing(grid)))
        return with_outside(drawn, covered, torch.full((3, 1, 1), 0.5))

    expected = painted(whole).colour
    for top, left, size in ((0, 0, (60, 31)), (17, 20, (9, 50)), (59, 69, (1, 1))):
        part = painted(whole.window(top, left, size)).colour
        assert (part - expected[:, top : top + size[0], left : left + size[1]]).abs().max() < 1e-5
