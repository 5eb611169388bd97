"""Positions: pixel centres, cells, grids."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.errors import InputError
from utils.geometry import grids as coords


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
def test_chunks_cover_the_grid_once(queries) -> None:
    grid = coords.Grid.of_size((11, 5))
    chunks = list(grid.row_chunks(queries))
    assert [row for rows, _ in chunks for row in range(rows.start, rows.stop)] == list(range(11))
    assert torch.equal(torch.cat([chunk.rows for _, chunk in chunks]), grid.rows)
    assert all(len(chunk.rows) * 5 <= max(queries, 5) for _, chunk in chunks)


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 12), m=st.integers(1, 60), step=st.integers(1, 13))
def test_a_grid_is_split_by_the_rows_that_hold_its_positions(n, m, step) -> None:
    grid, found = coords.Grid.of_size((m, 2)), torch.full((m,), -1)
    for rows, part, place in grid.by_pixel_rows(n, step):
        assert rows.stop - rows.start <= step
        owner = coords.pixel_index(part.rows, n)
        assert bool(((owner >= rows.start) & (owner < rows.stop)).all())
        found[place[1]] = owner
    assert torch.equal(found, coords.pixel_index(grid.rows, n))
    across = coords.Grid(grid.columns, grid.rows, (2, m))
    split = list(across.by_pixel_columns(n, step))
    assert [columns for columns, _, _ in split] == [rows for rows, _, _ in grid.by_pixel_rows(n, step)]
    assert torch.equal(torch.cat([part.columns for _, part, _ in split]), across.columns)
    assert all(torch.equal(across.columns[place[-1]], part.columns) for _, part, place in split)


def test_rows_are_counted_from_the_first_of_a_part() -> None:
    window = coords.Grid.of_size((40, 2)).window(17, 0, (15, 2))
    rows = [(part.start, part.stop) for part, _, _ in window.by_pixel_rows(20, 3, first=7)]
    assert rows == [(7, 10), (10, 13), (13, 16)]


def test_the_pixels_that_hold_a_grid_s_positions() -> None:
    window = coords.Grid.of_size((40, 60)).window(7, 50, (4, 3))
    assert window.pixels((20, 30)) == (range(3, 6), range(25, 27))


def test_a_window_keeps_the_pixel_size() -> None:
    grid = coords.Grid.of_size((20, 30))
    window = grid.window(3, 5, (4, 6))
    assert torch.equal(window.coord(), grid.coord()[3:7, 5:11])
    assert torch.equal(window.cell((10, 10), None), grid.cell((10, 10), None))
    for outside in ((-1, 0, (2, 2)), (19, 0, (2, 2)), (0, 25, (2, 6)), (0, 0, (0, 1))):
        with pytest.raises(InputError, match="window"):
            grid.window(*outside)


def test_cell_clip_works_per_axis() -> None:
    assert coords.cell_of((20, 160)).tolist() == pytest.approx([0.1, 0.0125])
    assert coords.cell_of((20, 160), (10, 20), 4).tolist() == pytest.approx([0.1, 0.025])
