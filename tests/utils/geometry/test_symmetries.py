"""A picture and a grid that are flipped and turned together read the same values."""

import pytest
import torch

import models
from models.upscaler import Upscaler
from utils.geometry.grids import Grid
from utils.geometry.homographies import Homography
from utils.geometry.symmetries import SYMMETRIES

PERSPECTIVE = [[1.2, 0.1, 0.5], [-0.2, 1.4, 1.0], [0.004, -0.003, 1.0]]


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_a_warp_stays_and_a_grid_turns_with_its_picture(symmetry) -> None:
    upscaler = Upscaler(models.make({"name": "bilinear"}))
    image = torch.rand(1, 3, 9, 14, generator=torch.Generator().manual_seed(0))
    for grid in (Grid.of_size((18, 21)), Homography(torch.tensor(PERSPECTIVE).double()).grid((9, 14), (12, 19))):
        expected = upscaler.render(upscaler.encode(image), grid)
        turned = upscaler.render(upscaler.encode(symmetry.of_picture(image)), symmetry.of_grid(grid))
        assert (symmetry.undone(turned, grid) - expected).abs().max() < 1e-5
