"""LM-LeRF with its render MLP; what holds for every decoder, with kernels alone, is in test_registered.py."""

import pytest
import torch

import models
from models.decoders.lmlerf import WindowedGaussian
from models.upscaler import Upscaler
from tests.golden_cases import assert_close
from tests.models.test_registered import INPUT, OUTPUT, sampled, values_at
from tests.registered import SMALL_ENCODER
from utils.geometry.homographies import Homography


@pytest.mark.parametrize(("support", "prefilter"), [(4, False), (6, True)])
def test_grids_and_warps_are_rendered_as_positions_are_sampled(support, prefilter) -> None:
    torch.manual_seed(0)
    arguments = {"imnet_spec": {"name": "lmmlp", "args": {"hidden_dim": 8}}, "support": support, "prefilter": prefilter}
    model = models.make({"name": "lmlerf", "args": {"encoder_spec": SMALL_ENCODER, **arguments}})
    upscaler, pictures = Upscaler(model.eval()), torch.rand(2, 3, *INPUT)
    assert_close(upscaler(pictures, OUTPUT), sampled(upscaler, pictures, OUTPUT), 1e-4)
    homography = Homography.rotation(20, INPUT, OUTPUT, (2.5, 3))
    grid = homography.grid(INPUT, OUTPUT)
    coord, inside = grid.positions(range(OUTPUT[0]))
    expected = values_at(upscaler, pictures, coord[:, inside].T.float(), homography.cell(INPUT, 4)[None])
    assert_close(upscaler(pictures, grid)[:, :, inside], expected, 1e-4)


def test_the_window_closes_at_the_border_of_the_support() -> None:
    kernel, hyper = WindowedGaussian(2), [torch.tensor(value) for value in (0.5, 0.1, 0.1)]
    inner, border, beyond = (kernel.weight(torch.tensor(d), torch.tensor(0.3), hyper) for d in (1.5, 2.0, 2.1))
    assert inner > 0.01 > border == beyond == 0
