"""Grey, transparency and inks through an upscaler; the edges of warps, whose parts equal the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from models.native import backends
from models.upscaler import Upscaler
from painting.layers import continued, coverage, drawing, drawn_on, paint, spread, with_outside
from painting.plan import needed_memory
from pictures.picture import PixelFormat
from pictures.tensors import Layers
from tests.registered import small_spec
from utils.geometry.homographies import Homography
from utils.geometry.matrices import rotation_matrix


def disc(side: int = 24) -> torch.Tensor:
    """(1, side, side): 1 within a disc, 0 outside, soft between."""
    y, x = torch.meshgrid(*[torch.arange(side) - (side - 1) / 2] * 2, indexing="ij")
    return (side / 3 - (x * x + y * y).sqrt() + 0.5).clamp(0, 1)[None]


def upscaler(name: str) -> Upscaler:
    return Upscaler(models.make({"name": name}).eval())


LARGER = drawing((60, 60))
TURNED = Homography.rotation(10, (24, 24), (48, 48), (2, 2)).grid((24, 24), (48, 48))
TURN = drawing(TURNED)


@pytest.fixture(params=["bicubic", "lanczos", "network"])
def any_upscaler(request, small_model) -> Upscaler:
    return Upscaler(small_model) if request.param == "network" else upscaler(request.param)


@pytest.mark.parametrize("draw", [LARGER, TURN])
@pytest.mark.parametrize("hidden", [0.0, 1.0])
def test_no_ring_around_a_disc(any_upscaler, draw, hidden) -> None:
    colour = torch.tensor([0.9, 0.5, 0.1])[:, None, None].expand(-1, 24, 24)
    alpha = disc()
    below = torch.where(alpha > 0, colour, torch.full_like(colour, hidden))
    painted = paint(any_upscaler, Layers(below, alpha), draw)
    opaque = paint(any_upscaler, Layers(colour), draw)
    assert ((painted.colour - opaque.colour) * painted.alpha).abs().max() < 2 / 255


@pytest.mark.parametrize("draw", [LARGER, TURN])
def test_opaque_and_transparent_stay_exactly_so(any_upscaler, draw) -> None:
    colour = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0))
    half = torch.ones(1, 24, 24)
    half[:, :, :12] = 0
    painted = paint(any_upscaler, Layers(colour, half), draw)
    columns = painted.alpha.shape[2]
    rows = slice(None) if draw is LARGER else slice(20, 28)
    assert (painted.alpha[:, rows, : columns // 2 - 8] == 0).all()
    assert (painted.alpha[:, rows, columns // 2 + 8 : columns - 8] == 1).all()
    whole = paint(any_upscaler, Layers(colour, torch.ones(1, 24, 24)), draw)
    assert (whole.alpha == 1).all()


def test_alpha_of_a_filter_is_its_own() -> None:
    alpha = disc()
    painted = paint(upscaler("nearest"), Layers(alpha, alpha), drawing((48, 48)))
    assert torch.equal(painted.alpha, alpha.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_grey_stays_one_channel_and_inks_are_apart(any_upscaler) -> None:
    inks = torch.rand(4, 9, 9, generator=torch.Generator().manual_seed(0))
    painted = paint(any_upscaler, Layers(inks), drawing((18, 18)))
    rgb = paint(any_upscaler, Layers(inks[:3]), drawing((18, 18)))
    black = paint(any_upscaler, Layers(inks[3:]), drawing((18, 18)))
    assert torch.equal(painted.colour, torch.cat([rgb.colour, black.colour]))
    assert black.colour.shape == (1, 18, 18)


def test_colours_continue_below_what_is_transparent() -> None:
    colour = torch.zeros(3, 16, 16)
    colour[0, :, 8:] = 1  # red on the right, black garbage on the left
    alpha = torch.zeros(1, 16, 16)
    alpha[:, :, 8:] = 1
    assert torch.allclose(continued(colour, alpha)[0], torch.ones(16, 16))
    assert torch.equal(continued(colour, alpha)[:, :, 8:], colour[:, :, 8:])
    assert torch.equal(continued(colour, torch.zeros(1, 16, 16)), colour)
    colour[1, :, :1] = alpha[:, :, :1] = 1  # green far on the left
    filled = continued(colour, alpha)
    assert filled[1, 8, 1] > filled[0, 8, 1]
    assert filled[0, 8, 7] > filled[1, 8, 7]


def test_what_is_outside_is_transparent_or_coloured() -> None:
    inside = torch.tensor([[1.0, 0.0]])
    layers = Layers(torch.tensor([[[0.5, 0.0]]]))
    clear = with_outside(layers, inside, None)
    assert (clear.colour.tolist(), clear.alpha.tolist()) == ([[[0.5, 0]]], [[[1, 0]]])
    faint = Layers(layers.colour, torch.full((1, 1, 2), 0.25))
    white = with_outside(faint, inside, torch.ones(1, 1, 1))
    assert (white.colour.tolist(), white.alpha.tolist()) == ([[[0.5, 1]]], [[[0.25, 1]]])
    assert with_outside(faint, inside, None).alpha.tolist() == [[[0.25, 0]]]
    assert with_outside(layers, torch.ones(1, 2), None) is layers


def test_memory_grows_with_the_output() -> None:
    small, large, clear = (
        needed_memory(size, PixelFormat(channels, 8))
        for size, channels in (((1000, 1000), "RGB"), ((20000, 20000), "RGB"), ((1000, 1000), "RGBA"))
    )
    assert 20e6 < small < 60e6
    assert 390 * small < large
    assert small + 10e6 < clear


@pytest.mark.skipif(backends.library("lmf") is None, reason="needs a C++ compiler")
def test_native_models_draw_alpha_by_a_filter_that_has_no_routines() -> None:
    layers = Layers(torch.rand(3, 24, 24), disc())
    painted = paint(Upscaler(models.make(small_spec("lmliif")).eval(), backend="native"), layers, LARGER)
    assert torch.equal(painted.alpha, paint(upscaler("catmull-rom"), layers, LARGER).alpha)


FINE = 8  # samples along a side of a pixel


def sampled(matrix: np.ndarray, input_size: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The share by counting samples."""
    y, x = ((np.arange(n * FINE) + 0.5) / FINE - 0.5 for n in size)
    points = np.stack(np.broadcast_arrays(x, y[:, None], 1.0))
    u, v, w = np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), points)
    w = w * np.sign(np.linalg.inv(matrix)[2] @ matrix @ [(input_size[1] - 1) / 2, (input_size[0] - 1) / 2, 1])
    inside = (np.abs(u / w - (input_size[1] - 1) / 2) < input_size[1] / 2) & (w > 0)
    inside &= np.abs(v / w - (input_size[0] - 1) / 2) < input_size[0] / 2
    return inside.reshape(size[0], FINE, size[1], FINE).mean((1, 3))


@settings(max_examples=12, deadline=None, derandomize=True)
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
    lanczos, layers = upscaler("lanczos"), Layers(torch.rand(3, 21, 25))
    whole = Homography.rotation(33, (21, 25), (60, 70), (2, 2)).grid((21, 25), (60, 70))

    def painted(grid: object) -> Layers:
        drawn, covered = drawn_on(grid, lambda grid: paint(lanczos, layers, drawing(grid)))
        return with_outside(drawn, covered, torch.full((3, 1, 1), 0.5))

    expected = painted(whole).colour
    for top, left, size in ((0, 0, (60, 31)), (17, 20, (9, 50)), (59, 69, (1, 1))):
        part = painted(whole.window(top, left, size)).colour
        assert (part - expected[:, top : top + size[0], left : left + size[1]]).abs().max() < 1e-5
