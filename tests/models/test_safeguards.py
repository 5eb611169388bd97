"""What networks are not trained for comes out right all the same: smaller pictures, drawings, patterns."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import models
from models import load_upscaler, safeguards
from models.continuous import Latent
from models.safeguards import filter_share, pixel_size
from models.upscaler import Upscaler
from pictures.similarity import psnr
from pictures.tensors import to_tensor
from tests.registered import DECODERS, small_spec
from utils.geometry.grids import Grid
from utils.geometry.homographies import Homography
from utils.geometry.sizes import output_size

ROOT = Path(__file__).parents[2]
SHIPPED = ("s", "lerf-g", "lerf-l")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.open(ROOT / "load/samples/coffee.png").convert("RGB").crop((100, 100, 300, 260))


@pytest.mark.parametrize(
    ("model", "scale"), [("s", 0.1), ("s", 0.45), ("s", 0.95), ("s", (0.3, 0.6)), ("lerf-g", 0.25), ("lerf-l", 0.8)]
)
def test_shrinking_is_pillow_s_bicubic(photo, model, scale) -> None:
    upscaler, picture = load_upscaler(model), to_tensor(np.array(photo))
    size = output_size(tuple(picture.shape[1:]), scale if isinstance(scale, tuple) else (scale, scale))
    expected = to_tensor(np.array(photo.resize(size[::-1], Image.Resampling.BICUBIC)))
    assert psnr(upscaler(picture, size)[0], expected) > 40


@pytest.mark.parametrize("name", DECODERS)
def test_scale_one_gives_the_input_back(name) -> None:
    picture = torch.rand(2, 3, 9, 7)
    assert (Upscaler(models.make(small_spec(name)).eval())(picture, (9, 7)) - picture).abs().max() < 1e-5


def test_shrinking_one_axis_keeps_what_the_model_does_along_the_other(photo) -> None:
    upscaler, picture = load_upscaler(SHIPPED[0]), to_tensor(np.array(photo))
    wide = upscaler(picture, (320, 100))
    reference = upscaler(picture, (320, 200))[0].permute(1, 2, 0).mul(255).round().byte().numpy()
    expected = to_tensor(np.array(Image.fromarray(reference).resize((100, 320), Image.Resampling.BICUBIC)))
    assert psnr(wide[0], expected) > 40
    window = Grid.of_size((320, 100)).window(17, 9, (50, 40))
    assert torch.allclose(upscaler(picture, window), wide[:, :, 17:67, 9:49], atol=1e-5)


def test_a_perspective_goes_over_from_model_to_filter_without_a_border(photo) -> None:
    """Left the picture is enlarged, right it is reduced."""
    picture = to_tensor(np.array(photo))
    matrix = torch.tensor([[3.0, 0, 0], [0, 3, 0], [0.02, 0, 1]], dtype=torch.float64)
    grid = Homography(matrix).grid((160, 200), (40, 120))
    upscaler, filtered = load_upscaler(SHIPPED[0]), load_upscaler("catmull-rom")(picture, grid)[0]
    with upscaler.computing():
        model = upscaler.model.render(upscaler.encode(picture), grid)[0].mul(0.5).add(0.5).clamp(0, 1)
    warped = upscaler(picture, grid)[0]
    assert (warped - model)[:, :, :60].abs().max() < 0.02
    assert (warped - filtered)[:, :, :60].abs().max() > 0.05
    assert torch.allclose(warped[:, :, 80:], filtered[:, :, 80:], atol=1e-6)
    share = filter_share(pixel_size(grid, (160, 200)), grid)[0, 0]
    assert bool((share.diff(dim=1) >= 0).all())
    assert bool((share.diff(dim=1) < 0.2).all())


@pytest.mark.parametrize("model", SHIPPED)
def test_black_and_white_stays_black_and_white(model) -> None:
    drawing = Image.new("L", (48, 40), 255)
    drawing.paste(0, (10, 5, 14, 35))
    drawing.paste(0, (10, 5, 40, 8))
    picture = to_tensor(np.array(drawing.convert("RGB")))
    upscaler = load_upscaler(model)
    for grid in ((160, 192), Homography.rotation(20, (40, 48), (90, 90), (2, 2)).grid((40, 48), (90, 90))):
        painted = upscaler(picture, grid)[0]
        assert (painted - painted.mean(0)).abs().max() < 1e-6
        assert painted.std() > 0.2


def test_black_and_white_beside_colours_stays_black_and_white(monkeypatch) -> None:
    """To a pixel of colours: 5x5 LR pixels around the four around a position have none."""
    noise = torch.rand(1, 20, 24, generator=torch.Generator().manual_seed(0))
    picture = (noise < 0.5).float().expand(3, -1, -1).clone()
    picture[:, 15, 20] = torch.tensor([1.0, 0.2, 0.1])
    upscaler = load_upscaler(SHIPPED[0])
    grid = Grid.of_size((80, 96))
    warped = Homography.rotation(20, (20, 24), (90, 90), (3, 3)).grid((20, 24), (90, 90))
    painted = upscaler(picture, grid)[0]
    with monkeypatch.context() as patched:
        patched.setattr("models.safeguards.keep_grey", lambda *args: None)
        by_model = upscaler(picture, grid)[0]
    chroma, false = (drawn.amax(0) - drawn.amin(0) for drawn in (painted, by_model))
    near = torch.zeros(80, 96, dtype=torch.bool)
    near[50:74, 70:94] = True
    assert chroma[~near].max() == 0
    assert false[~near].max() > 0.05
    assert chroma[60:64, 80:84].max() > 0.1
    assert torch.equal(painted[:, 54:70, 74:90], by_model[:, 54:70, 74:90])
    window = upscaler(picture, grid.window(40, 60, (30, 30)))[0]
    assert torch.allclose(window, painted[:, 40:70, 60:90], atol=1e-6)
    turned, (position, _) = upscaler(picture, warped)[0], warped.positions(range(90))
    row, column = ((axis + 1) / 2 * n - 0.5 for axis, n in zip(position, (20, 24), strict=True))  # in LR pixels
    far = torch.maximum((row - 15).abs(), (column - 20).abs()) > 3
    assert torch.equal(turned[:, far], turned[:1, far].expand(3, -1))
    assert (turned != turned[0]).any()


@pytest.mark.parametrize("model", SHIPPED)
def test_a_flat_pattern_stays_within_what_its_surroundings_support(model) -> None:
    """A checkerboard that was reduced to an even grey with a tint."""
    picture = torch.tensor([0.5, 0.49, 0.5])[:, None, None].expand(3, 20, 20).clone()
    picture[:, 9:11, 9:11] += 0.01
    painted = load_upscaler(model)(picture, (80, 80))
    assert (painted - 0.5).abs().max() < 0.06


@pytest.mark.parametrize("scale", [1, 3])
def test_values_are_clipped_on_both_sides_to_what_their_surroundings_support(scale) -> None:
    picture = torch.rand(2, 3, 7, 9) * 0.1 + 0.4
    painted = torch.rand(2, 3, 7 * scale, 9 * scale) * 2 - 0.5
    padded = F.pad(picture, (2, 2, 2, 2), mode="replicate")
    highest, lowest = (sign * F.max_pool2d(sign * padded, 5, stride=1) for sign in (1, -1))
    slack = highest - lowest + safeguards.OVERSHOOT
    bounds = [F.interpolate(bound, scale_factor=scale) for bound in (lowest - slack, highest + slack)]
    assert bool((painted < bounds[0]).any())
    assert bool((painted > bounds[1]).any())
    expected = painted.clamp(*bounds)
    safeguards.limit_overshoot(painted, Latent(picture, picture), Grid.of_size((7 * scale, 9 * scale)))
    torch.testing.assert_close(painted, expected)


def test_what_is_less_than_a_level_of_8_bits_is_interpolated_in_deep_pictures() -> None:
    picture = torch.rand(1, 3, 40, 9) * 0.5 + 0.25
    grid = Grid.of_size((80, 27)).window(3, 2, (70, 20))
    cubic = safeguards.reduced(picture, grid)
    for levels, kept in ((0.4, 0), (0.6, 0.5), (0.8, 1), (-40, 1)):
        painted = cubic + levels / 255
        safeguards.smooth_gradients(painted, Latent(picture, picture), grid)
        torch.testing.assert_close(painted, cubic + kept * levels / 255, atol=1e-5, rtol=0)
