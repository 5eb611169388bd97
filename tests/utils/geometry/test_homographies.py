"""Warps: positions, pixel sizes, files that hold a matrix, and symmetries."""

import numpy as np
import pytest
import torch

import models
from models.upscaler import Upscaler
from pictures.similarity import psnr
from tests.conftest import SMALL_LIIF, SMALL_LMLIIF
from tests.golden_cases import assert_close
from utils.errors import InputError
from utils.geometry import homographies
from utils.geometry.grids import Grid, cell_of, pixel_index
from utils.geometry.homographies import Homography, write_homography
from utils.geometry.matrices import facing_matrix, matrix_of
from utils.geometry.sizes import rotated_size
from utils.geometry.symmetries import SYMMETRIES

MATRIX = torch.tensor([[1.7, 0.15, 3.0], [-0.1, 1.9, 2.0], [0.002, -0.001, 1.0]], dtype=torch.float64)
SPECS = {"lmliif": SMALL_LMLIIF, "liif": SMALL_LIIF, "lerf-g": {"name": "lerf-g", "args": {"nf": 4}}}
SPECS |= {name: {"name": name} for name in ("nearest", "bicubic")}


@pytest.fixture(params=[*((name, "auto") for name in SPECS), ("lmliif", "torch"), ("lerf-g", "torch")])
def upscaler(request) -> Upscaler:
    torch.manual_seed(0)
    name, backend = request.param
    return Upscaler(models.make(SPECS[name]).eval(), backend=backend)


def test_identity_equals_scale_one(upscaler) -> None:
    latent = upscaler.encode(torch.rand(2, 3, 9, 7))
    grid = Homography(torch.eye(3)).grid((9, 7), (9, 7))
    assert grid.inside().all()
    # In the last row and column LIIF reads one pixel twice, at no distance: rounding sets the weights.
    with upscaler.computing():  # scale 1 of an upscaler is the input itself
        expected = upscaler.model.render(latent, Grid.of_size((9, 7)))
        warped = upscaler.model.render(latent, grid)
    assert_close(warped[..., :-1, :-1], expected[..., :-1, :-1], 1e-5)


@pytest.mark.parametrize("scale", [(2, 2), (3, 1.5)])
def test_scaling_equals_rendering_at_that_size(upscaler, scale) -> None:
    latent, size = upscaler.encode(torch.rand(1, 3, 8, 10)), (round(8 * scale[0]), round(10 * scale[1]))
    grid = Homography.scaling(scale).grid((8, 10), size)
    assert grid.inside().all()
    warped = upscaler.render(latent, grid)
    difference = (warped - upscaler.render(latent, size)).abs().amax(1)[0]
    # Where rounding decides: on a border between pixels, which one counts; in the last ones, as above.
    clear = [(torch.arange(n) + 0.5) / s % 1 != 0 for n, s in zip(size, scale, strict=True)]
    within = [torch.arange(n) < n - s for n, s in zip(size, scale, strict=True)]
    (clear_y, clear_x), (within_y, within_x) = clear, within
    compared = (clear_y & within_y)[:, None] & clear_x & within_x
    assert bool((difference[compared] < 1e-5).all())
    assert compared.float().mean() > 0.4


def bicubic() -> Upscaler:
    return Upscaler(models.make({"name": "bicubic"}))


def test_shrinking_equals_rendering_smaller() -> None:
    for upscaler in (bicubic(), Upscaler(models.make({"name": "lanczos"}))):
        latent = upscaler.encode(torch.rand(1, 3, 24, 36))
        warped = upscaler.render(latent, Homography.scaling((1 / 3, 1 / 2)).grid((24, 36), (8, 18)))
        assert_close(warped, upscaler.render(latent, (8, 18)), 1e-5)


def turned(picture: torch.Tensor, degrees: float, size: tuple[int, int]) -> torch.Tensor:
    """By a filter, about the centre, onto an output of that size."""
    given = tuple(picture.shape[-2:])
    return bicubic()(picture, Homography.rotation(degrees, given, size).grid(given, size))


@pytest.mark.parametrize("quarter_turns", [1, 2])
def test_quarter_turns_only_move_pixels(quarter_turns) -> None:
    picture = torch.rand(1, 3, 6, 9)
    warped = turned(picture, 90.0 * quarter_turns, rotated_size((6, 9), 90.0 * quarter_turns))
    assert_close(warped, torch.rot90(picture, quarter_turns, (2, 3)), 1e-5)


def test_turning_back_and_forth_keeps_the_middle() -> None:
    blob = torch.linspace(-2, 2, 40)
    picture = torch.exp(-(blob[:, None] ** 2) - blob**2).expand(1, 3, 40, 40)
    back = turned(turned(picture, 30, rotated_size((40, 40), 30)), -30, (40, 40))
    assert psnr(back[..., 8:-8, 8:-8], picture[..., 8:-8, 8:-8]) > 45


def sent(matrix: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """Where a matrix sends a pixel, (x, y)."""
    moved = matrix @ torch.tensor([x, y, 1], dtype=torch.float64)
    return moved[:2] / moved[2]


def test_positions_are_where_the_matrix_sends_them() -> None:
    homography, size, output = Homography(MATRIX), (14, 18), (30, 36)
    grid = homography.grid(size, output)
    for queries in (1, 100, 10**6):
        coord, inside = torch.zeros(*output, 2), torch.zeros(output, dtype=torch.bool)
        for place, found, _ in grid.chunks(queries):
            assert found[..., 0].numel() <= max(queries, output[1])
            assert not inside[place].any()
            coord[place[1:]], inside[place] = found, True
        assert torch.equal(inside, grid.inside())
        coord = coord.permute(2, 0, 1).double()
        for y, x in ((5, 6), (13, 17), (0, 0)):
            column, row = sent(MATRIX, x, y).tolist()
            nearest = coord[:, round(row), round(column)]
            assert inside[round(row), round(column)]
            assert (((nearest + 1) * torch.tensor(size) - 1) / 2 - torch.tensor([y, x])).abs().max() < 0.6
        assert not inside[0, -1]


def test_cells_are_the_derivative_of_the_inverse() -> None:
    homography, size = Homography(MATRIX), (14, 18)
    cell = homography.cell(size).double() * torch.tensor(size)[:, None, None] / 2
    inverse = torch.linalg.inv(MATRIX)
    for y, x in ((3, 4), (12, 15)):
        u, v = sent(MATRIX, x, y).tolist()
        by_u = sent(inverse, u + 0.5, v) - sent(inverse, u - 0.5, v)
        by_v = sent(inverse, u, v + 0.5) - sent(inverse, u, v - 0.5)
        expected = torch.hypot(by_u, by_v).flip(0)
        assert_close(cell[:, y, x], expected, 1e-3)


def test_cells_respect_what_models_were_trained_for() -> None:
    size = (8, 8)
    assert torch.equal(Homography.scaling((12, 2)).cell(size, 4.0)[:, 3, 3], cell_of((32, 16)))
    shrinking = Homography.scaling((1 / 100, 1 / 2))
    assert torch.equal(shrinking.cell(size)[:, 3, 3], torch.tensor([8.0, 2.0]) * 2 / 8)
    assert torch.equal(shrinking.cell(size, None, 1.0)[:, 3, 3], cell_of(size))


def test_what_lies_behind_the_horizon_is_outside() -> None:
    """Half of the output of a strong perspective is sky, whatever the sign of the matrix."""
    matrix = torch.tensor([[1, 0, 0], [0, 1, 0], [0, -0.2, 1]], dtype=torch.float64)
    for sign in (1, -1):
        homography = Homography(sign * matrix)
        coord, inside = homography.grid((4, 8), (40, 8)).positions(range(40))
        assert torch.equal(inside[:, 0], ((torch.arange(40) / (1 + 0.2 * torch.arange(40))) <= 3.5))
        assert coord.isfinite().all()
        assert homography.cell((4, 8)).isfinite().all()


def test_the_interior_is_a_frame_smaller() -> None:
    interior = Homography(torch.eye(3)).interior((12, 14), (12, 20), 4)
    expected = torch.zeros(12, 20, dtype=torch.bool)
    expected[4:8, 4:10] = True
    assert torch.equal(interior, expected)


@pytest.mark.parametrize("name", ["m.txt", "m.npy", "m.pth"])
def test_files_round_trip(tmp_path, name) -> None:
    path = tmp_path / name
    write_homography(tmp_path / "m.txt", Homography(MATRIX))
    np.save(tmp_path / "m.npy", MATRIX.numpy())
    torch.save(MATRIX, tmp_path / "m.pth")
    assert torch.equal(Homography(matrix_of(path)).matrix, MATRIX)
    for content in (b"\xff\xfe\x00junk", b"1 2 3"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=name) as caught:
            matrix_of(path)
        assert "\n" not in str(caught.value)


def test_matrices_as_text() -> None:
    for text in ("2,0,0.5,0,2,0.5,0,0,1", "[[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]]"):
        assert torch.equal(Homography(matrix_of(text)).matrix, Homography.scaling((2, 2)).matrix)
    long = ",".join(f"{value:.60f}" for value in MATRIX.flatten().tolist())  # no file's name
    assert np.allclose(matrix_of(long), MATRIX)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,0,0,0,1,0,0,0", "nine numbers, row by row, not 8"),
        ("1,2,3,2,4,6,0,0,1", "singular"),
        ("0,0,0,0,0,0,0,0,0", "singular"),
        ("1,0,0,0,nan,0,0,0,1", "finite"),
        ("1,0,0,x,1,0,0,0,1", "nine numbers"),
        ("nothere.npy", "no such file"),
        ("nothere", "no such file"),
        ("/" + 300 * "x", "no such file"),
    ],
)
def test_what_is_no_homography_is_explained(text, words) -> None:
    with pytest.raises(InputError, match=words) as caught:
        matrix_of(text)
    assert text[:70] in str(caught.value)


@pytest.mark.parametrize("factor", [1e-10, -1e-7, 1e13, -2.0])
def test_a_common_factor_changes_nothing(factor) -> None:
    plain, scaled = Homography(MATRIX), Homography(factor * MATRIX)
    assert_close(scaled.cell((14, 18)), plain.cell((14, 18)), 1e-6)
    (coord, inside), (scaled_coord, scaled_inside) = (
        homography.grid((14, 18), (9, 36)).positions(range(9)) for homography in (plain, scaled)
    )
    assert torch.equal(inside, scaled_inside)
    assert_close(scaled_coord, coord, 1e-9)


@pytest.mark.parametrize(("factor", "shift"), [(1e-3, 0), (2, 1e5), (1, 1e8), (1, 1e300)])
@pytest.mark.filterwarnings("error")
def test_tiny_and_huge_units_are_not_singular(factor, shift) -> None:
    Homography(torch.tensor([[factor, 0, shift], [0, factor, shift], [0, 0, 1]], dtype=torch.float64))


@pytest.mark.parametrize("degrees", [90.0, 123.4])
def test_rotated_pictures_fit(degrees) -> None:
    size = rotated_size((30, 50), degrees, (2, 1.5))
    homography = Homography.rotation(degrees, (30, 50), size, (2, 1.5))
    corners = torch.tensor([[-0.5, 49.5, 49.5, -0.5], [-0.5, -0.5, 29.5, 29.5], [1, 1, 1, 1]], dtype=torch.float64)
    x, y, _ = homography.matrix @ corners
    for side, ends in zip(size, (y, x), strict=True):
        assert ends.min() >= -0.5 - 1e-6
        assert ends.max() <= side - 0.5 + 1e-6
        assert side - (ends.max() - ends.min()) < 1
    assert Grid.of_size(size).size == size


def test_the_pixels_that_hold_a_warp_s_positions() -> None:
    """A quarter turn shows the picture's columns as rows; none of them where a window lies outside of it."""
    grid = Homography.rotation(90, (20, 30), (60, 40), (2, 2)).grid((20, 30), (60, 40))
    rows, columns = grid.window(0, 0, (10, 4)).pixels((20, 30))
    assert (rows, columns) == (range(0, 2), range(25, 30))
    outside = Homography.rotation(0, (20, 30), (90, 90)).grid((20, 30), (90, 90)).window(0, 0, (9, 9))
    assert outside.pixels((20, 30)) == (range(0), range(0))
    found = [part for part, _, _ in grid.by_pixel_rows(20, 6, first=2)]
    assert found[0] == slice(2, 8)


@pytest.mark.parametrize("queries", [90, 1 << 16])
def test_a_warp_split_by_rows_has_each_position_once(monkeypatch, queries) -> None:
    """Whatever number of positions is looked at together: of other sides than the picture's, and partly outside."""
    monkeypatch.setattr(homographies, "QUERIES", queries)
    grid = Homography.rotation(25, (20, 30), (37, 52), (1.5, 1.5)).grid((20, 30), (37, 52))
    coord, inside = grid.positions(range(37))
    seen = torch.zeros(37, 52, dtype=torch.long)
    for rows, part, _ in grid.by_pixel_rows(20, 6):
        for (_, row, column), positions, _ in part.chunks(11):
            seen[row, column] += 1
            assert torch.equal(positions, coord[:, row, column].T.float())
            owner = pixel_index(positions[:, 0], 20)
            assert bool(((owner >= rows.start) & (owner < rows.stop)).all())
    assert torch.equal(seen.bool(), inside)
    assert seen.max() == 1


def test_a_matrix_faces_the_centre_of_a_picture() -> None:
    matrix = np.array([[1, 0, 3], [0, 1, 5], [0.002, 0.01, 1.0]])
    facing = facing_matrix(matrix, (10, 32))
    assert facing[2] @ [15.5, 4.5, 1] == pytest.approx(1)
    assert facing / facing[2, 2] == pytest.approx(matrix)


def test_a_window_of_a_warp_has_the_positions_of_its_place() -> None:
    grid = Homography(MATRIX).grid((14, 18), (30, 36))
    window = grid.window(4, 7, (11, 13))
    for whole, part in zip(grid.positions(range(30)), window.positions(range(11)), strict=True):
        assert (whole[..., 4:15, 7:20].double() - part.double()).abs().max() < 1e-6


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_a_warp_stays_and_a_grid_turns_with_its_picture(symmetry) -> None:
    upscaler, image = bicubic(), torch.rand(1, 3, 9, 14)
    for grid in (Grid.of_size((18, 21)), Homography(MATRIX).grid((9, 14), (12, 19))):
        expected = upscaler.render(upscaler.encode(image), grid)
        turned = upscaler.render(upscaler.encode(symmetry.of_picture(image)), symmetry.of_grid(grid))
        assert (symmetry.undone(turned, grid) - expected).abs().max() < 1e-5
