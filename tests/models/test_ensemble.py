"""Self-ensemble: the mean over eight orientations, on plain grids, their windows and warps."""

import pytest
import torch

import models
from models.upscaler import Ensemble, Upscaler
from tests.registered import DECODERS, FILTERS, small_spec
from utils.geometry.grids import Grid
from utils.geometry.homographies import Homography
from utils.geometry.symmetries import SYMMETRIES

SIZE, OUTPUT = (9, 13), (22, 40)
WARP = Homography.rotation(20, SIZE, OUTPUT, (2, 2)).grid(SIZE, OUTPUT)


def upscaler_of(name: str) -> Upscaler:
    torch.manual_seed(0)
    return Upscaler(models.make(small_spec(name)).eval())


def test_there_are_eight_symmetries() -> None:
    picture = torch.arange(6.0).view(1, 2, 3)
    assert len({tuple(symmetry.of_picture(picture).flatten().tolist()) for symmetry in SYMMETRIES}) == 8


@pytest.mark.parametrize("grid", [Grid.of_size(OUTPUT), Grid.of_size(OUTPUT).window(3, 20, (7, 9)), WARP])
def test_a_symmetric_model_gives_what_it_gives_alone(grid) -> None:
    """A filter does not care how a picture lies: a wrong flip, turn or position shows."""
    upscaler, picture = upscaler_of("catmull-rom"), torch.rand(3, *SIZE)
    assert torch.allclose(Ensemble.of(upscaler)(picture, grid), upscaler(picture, grid), atol=1e-4)


@pytest.mark.parametrize("name", DECODERS + FILTERS)
def test_orientation_does_not_matter_for_any_model(name) -> None:
    ensemble, picture = Ensemble.of(upscaler_of(name)), torch.rand(3, *SIZE)
    picture[1:] = picture[:1].roll(3, -1)
    upright = ensemble(picture, OUTPUT)
    turned = ensemble(picture.flip(1).transpose(1, 2), OUTPUT[::-1])
    assert torch.allclose(turned.transpose(2, 3).flip(2), upright, atol=2e-3)


@pytest.mark.parametrize("grid", [(22, 40), WARP])
def test_it_is_the_mean_over_the_orientations(grid) -> None:
    upscaler, picture = upscaler_of("lmliif"), torch.rand(3, *SIZE)
    plain = grid if isinstance(grid, tuple) else None
    parts = []
    for symmetry in SYMMETRIES:
        if plain:
            output = upscaler(symmetry.of_picture(picture), plain[::-1] if symmetry.transposes else plain)
            parts.append(symmetry.undone(output, Grid.of_size(plain)))
        else:
            parts.append(upscaler(symmetry.of_picture(picture), symmetry.of_grid(grid)))
    assert torch.allclose(Ensemble.of(upscaler)(picture, grid), torch.stack(parts).mean(0), atol=1e-5)
    assert max((part - parts[0]).abs().max() for part in parts) > 1e-3
