"""Positions of warps by the kernel are those that PyTorch computes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import native
from models.native.positions import warped_positions
from tests.golden_cases import assert_close
from utils.geometry.grids import row_chunks
from utils.geometry.homographies import Homography

pytestmark = pytest.mark.skipif(native.library("positions") is None, reason="needs a C++ compiler")

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=200, deadline=None)
@given(size=SIZES, output=SIZES, queries=st.integers(1, 2000), tilt=st.floats(-0.2, 0.2), seed=st.integers(0, 1000))
def test_positions(size, output, queries, tilt, seed) -> None:
    torch.manual_seed(seed)
    matrix = torch.eye(3, dtype=torch.float64) + 0.3 * torch.randn(3, 3, dtype=torch.float64)
    matrix[2] = torch.tensor([tilt, tilt / 3, 1])  # for the larger ones the horizon is in the output
    grid = Homography(matrix).grid(size, output)
    for rows in row_chunks(output, queries):
        rows = range(rows.start, rows.stop)
        coord, inside = grid.positions(rows)
        native_coord, native_inside = warped_positions(native.library("positions"), grid, rows)
        assert_close(native_coord, coord.float(), 2e-7)
        on_the_border = ((coord.abs() - 1).abs() < 1e-9).any(0)
        assert torch.equal(native_inside | on_the_border, inside | on_the_border)


def test_borders_are_inside() -> None:
    """Centres of output pixels on the picture's border, exact in float64; behind it the last three columns."""
    homography = Homography(torch.tensor([[2, 0, 1], [0, 2, 1], [0, 0, 1]], dtype=torch.float64))
    coord, inside = warped_positions(native.library("positions"), homography.grid((4, 8), (9, 20)), range(9))
    assert torch.equal(coord[:, 0, 0], torch.tensor([-1.0, -1.0]))
    expected = torch.zeros(9, 20, dtype=torch.bool)
    expected[:, :17] = True
    assert torch.equal(inside, expected)


def test_wrong_arrays_are_refused() -> None:
    library = native.library("positions")
    with pytest.raises(ValueError, match="all rows"):
        warped_positions(library, Homography(torch.eye(3)).grid((9, 2), (9, 2)), range(0, 9, 2))
