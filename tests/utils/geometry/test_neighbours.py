"""Spans of a grid, neighbours, taps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.geometry import grids as coords
from utils.geometry import neighbours as lookups


def whole(size: tuple[int, int]) -> lookups.PixelWindow:
    return lookups.PixelWindow.whole(size)


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 30), m=st.integers(1, 100), ensemble=st.booleans())
def test_spans_are_the_lookup_regrouped(n, m, ensemble) -> None:
    position = coords.pixel_centers(m)
    plain = lookups.look_up(position, n, ensemble)
    spans = lookups.look_up_spans(position, n, ensemble)
    covered = []
    for span, real, lookup in spans.blocks(3, torch.device("cpu")):
        covered += range(span.start, span.stop)
        index = lookup.index[..., None].expand_as(lookup.offset).flatten(1)[:, real]
        assert torch.equal(index, plain.index[:, span])
        assert torch.equal(lookup.offset.flatten(1)[:, real], plain.offset[:, span])
    assert covered == list(range(m))


@settings(max_examples=50, deadline=None)
@given(size=st.tuples(st.integers(1, 8), st.integers(1, 8)))
def test_neighbours_blend_to_one_and_interpolate(size) -> None:
    """The weights sum to 1, and where both neighbours exist they reproduce a linear ramp exactly."""
    coord = torch.rand(1, 64, 2) * 2 - 1
    neighbours = lookups.Neighbours.of_points(coord, whole(size), local_ensemble=True)
    assert torch.allclose(neighbours.weight.sum((0, 1)), torch.ones(1, 64), atol=1e-6)
    ramp = coords.pixel_centers(size[0])[None, :, None, None].expand(1, *size, 1)
    blended = neighbours.blend(neighbours.gather(ramp))[..., 0]
    inside = coord[..., 0].abs() < 1 - 1 / size[0]
    assert torch.allclose(blended[inside], coord[..., 0][inside], atol=1e-5)


def test_gather_keeps_pictures_apart() -> None:
    table = torch.arange(2 * 3 * 4).reshape(2, 3, 4, 1).float()
    coord = coords.Grid.of_size((3, 4)).coord().flatten(0, 1).expand(2, -1, -1)
    nearest = lookups.Neighbours.of_points(coord, whole((3, 4)), local_ensemble=False)
    assert torch.equal(nearest.gather(table).flatten(), table.flatten())
    assert torch.equal(coords.sample_nearest(table, coord).flatten(), table.flatten())


def test_neighbours_in_some_rows_and_columns_are_those_of_the_whole() -> None:
    table = torch.rand(2, 7, 9, 3)
    coord = torch.rand(2, 50, 2) * torch.tensor([2 / 7, 4 / 9]) + torch.tensor([-1 / 7, -1 / 9])  # row 3, columns 4, 5
    of_whole, *of_parts = [
        lookups.Neighbours.of_points(coord, pixels, local_ensemble=True).gather(part.contiguous())
        for pixels, part in (
            (whole((7, 9)), table),
            (lookups.PixelWindow((7, 9), 2, 0, 3, 9), table[:, 2:5]),
            (lookups.PixelWindow((7, 9), 2, 3, 3, 4), table[:, 2:5, 3:7]),
        )
    ]
    assert all(torch.equal(gathered, of_whole) for gathered in of_parts)


def test_taps_reach_every_pixel_within_support() -> None:
    taps = lookups.axis_taps(coords.pixel_centers(7), 7, 2, torch.tensor(1.0))
    assert taps.index.shape == (4, 7)
    assert taps.index[:, 3].tolist() == [1, 2, 3, 4]  # of two pixels at the ends of the support, the first
    assert taps.distance[:, 3].tolist() == pytest.approx([2, 1, 0, -1], abs=1e-5)
    assert taps.inside.all()
    assert taps.index.min() == 0
    assert taps.index.max() == 6


def test_stretched_taps_are_each_position_s_own() -> None:
    """Where the stretch varies, a position has the taps it would have alone, and others that do not count."""
    position, stretch = torch.tensor([-0.93, -0.1, 0.3, 0.62, 0.999]), torch.tensor([1.0, 2.5, 1.0, 4.0, 1.7])
    together = lookups.axis_taps(position, 30, 1, stretch)
    assert together.index.shape == (8, 5)
    for i in range(5):
        alone = lookups.axis_taps(position[i], 30, 1, stretch[i])
        counted = together.inside[:, i]
        assert together.index[counted, i].tolist() == alone.index[alone.inside].tolist()
        assert torch.equal(together.distance[counted, i], alone.distance[alone.inside])
        assert bool((together.distance[counted, i].abs() <= 1 + 1e-4).all())


def test_windows_of_pixels() -> None:
    """Grown, they end where the picture does; shrunk, they keep what lies at the picture's border."""
    window = lookups.PixelWindow.around((20, 30), (range(2, 5), range(24, 27)), 1)
    assert (window.top, window.left, window.height, window.width) == (1, 23, 5, 5)
    grown = window.grown(4)
    assert (grown.rows, grown.columns) == (slice(0, 10), slice(19, 30))
    assert grown.shrunk(4) == lookups.PixelWindow((20, 30), 0, 23, 6, 7)
    picture = torch.arange(600).reshape(20, 30)
    assert torch.equal(window.within(grown).of(grown.of(picture)), window.of(picture))
