"""Positions: pixel centres, lookups, runs, taps."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import coords
from utils.errors import InputError


def test_pixel_centers_are_symmetric_and_inside() -> None:
    assert coords.pixel_centers(4).tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert coords.pixel_centers(1).tolist() == [0.0]


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 60), m=st.integers(1, 200))
def test_pixel_index_equals_grid_sample(n, m) -> None:
    """Nearest lookups, ties included, are those of grid_sample, which the published programs use."""
    position = coords.pixel_centers(m)
    grid = torch.stack([position, torch.zeros_like(position)], dim=-1)[None, None]  # (1, 1, m, 2) as (x, y)
    numbers = torch.arange(n, dtype=torch.float32)[None, None, None]
    expected = F.grid_sample(numbers, grid, mode="nearest", align_corners=False).flatten()
    assert torch.equal(coords.pixel_index(position, n), expected.long())


def test_positions_of_is_row_major() -> None:
    grid = coords.Grid.of_size((3, 5)).coord().flatten(0, 1)
    index = torch.tensor([0, 4, 5, 14])
    assert torch.equal(coords.positions_of(index, (3, 5)), grid[index])


@pytest.mark.parametrize("queries", [1, 7, 10, 1000])
def test_bands_cover_the_grid_once(queries) -> None:
    grid = coords.Grid.of_size((11, 5))
    bands = list(grid.bands(queries))
    assert [row for rows, _ in bands for row in range(rows.start, rows.stop)] == list(range(11))
    assert torch.equal(torch.cat([band.rows for _, band in bands]), grid.rows)
    assert all(len(band.rows) * 5 <= max(queries, 5) for _, band in bands)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((10, 20), (2, 2), (20, 40)),
        ((10, 20), (3, 1.5), (30, 30)),
        ((3, 3), (0.1, 0.5), (1, 2)),
        ((5, 5), (2.5, 1), (13, 5)),
    ],
)
def test_output_size(size, scale, expected) -> None:
    assert coords.output_size(size, scale) == expected


@pytest.mark.parametrize("scale", [(0, 1), (-1, 1), (float("nan"), 1), (float("inf"), 1), (1e9, 1e9)])
def test_impossible_scales(scale) -> None:
    with pytest.raises(InputError):
        coords.output_size((10, 10), scale)


def test_cell_clip_works_per_axis() -> None:
    assert coords.cell_of((20, 160)).tolist() == pytest.approx([0.1, 0.0125])
    assert coords.cell_of((20, 160), (10, 20), 4).tolist() == pytest.approx([0.1, 0.025])


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 30), m=st.integers(1, 100), ensemble=st.booleans())
def test_runs_are_the_lookup_regrouped(n, m, ensemble) -> None:
    position = coords.pixel_centers(m)
    plain = coords.look_up(position, n, ensemble)
    runs = coords.look_up_runs(position, n, ensemble)
    covered = []
    for span, real, lookup in runs.blocks(3):
        covered += range(span.start, span.stop)
        index = lookup.index[..., None].expand_as(lookup.offset).flatten(1)[:, real]
        assert torch.equal(index, plain.index[:, span])
        assert torch.equal(lookup.offset.flatten(1)[:, real], plain.offset[:, span])
    assert covered == list(range(m))


@settings(max_examples=50, deadline=None)
@given(size=st.tuples(st.integers(1, 8), st.integers(1, 8)))
def test_corners_blend_to_one_and_interpolate(size) -> None:
    """The weights sum to 1, and where both neighbours exist they reproduce a linear ramp exactly."""
    coord = torch.rand(1, 64, 2) * 2 - 1
    corners = coords.Corners.of_points(coord, size, local_ensemble=True)
    assert torch.allclose(corners.weight.sum((0, 1)), torch.ones(1, 64), atol=1e-6)
    ramp = coords.pixel_centers(size[0])[None, :, None, None].expand(1, *size, 1)
    blended = corners.blend(corners.gather(ramp))[..., 0]
    inside = coord[..., 0].abs() < 1 - 1 / size[0]
    assert torch.allclose(blended[inside], coord[..., 0][inside], atol=1e-5)


def test_gather_keeps_pictures_apart() -> None:
    table = torch.arange(2 * 3 * 4).reshape(2, 3, 4, 1).float()
    coord = coords.Grid.of_size((3, 4)).coord().flatten(0, 1).expand(2, -1, -1)
    nearest = coords.Corners.of_points(coord, (3, 4), local_ensemble=False)
    assert torch.equal(nearest.gather(table).flatten(), table.flatten())
    assert torch.equal(coords.sample_nearest(table, coord).flatten(), table.flatten())


def test_taps_reach_every_pixel_within_support() -> None:
    taps = coords.axis_taps(coords.pixel_centers(7), 7, 2, torch.tensor(1.0))
    assert taps.index.shape == (4, 7)
    assert taps.index[:, 3].tolist() == [1, 2, 3, 4]  # of two pixels at the ends of the support, the first
    assert taps.distance[:, 3].tolist() == pytest.approx([2, 1, 0, -1], abs=1e-5)
    assert taps.inside.all()
    assert taps.index.min() == 0
    assert taps.index.max() == 6


def test_stretched_taps_are_each_position_s_own() -> None:
    """Where the stretch varies, a position has the taps it would have alone, and others that do not count."""
    position, stretch = torch.tensor([-0.93, -0.1, 0.3, 0.62, 0.999]), torch.tensor([1.0, 2.5, 1.0, 4.0, 1.7])
    together = coords.axis_taps(position, 30, 1, stretch)
    assert together.index.shape == (8, 5)
    for i in range(5):
        alone = coords.axis_taps(position[i], 30, 1, stretch[i])
        counted = together.inside[:, i]
        assert together.index[counted, i].tolist() == alone.index[alone.inside].tolist()
        assert torch.equal(together.distance[counted, i], alone.distance[alone.inside])
        assert bool((together.distance[counted, i].abs() <= 1 + 1e-4).all())
