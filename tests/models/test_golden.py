"""Every model gives the published programs' pictures, through both ways of rendering, on all its backends."""

import pytest
import torch

import models
from models.native import backends
from tests.golden_cases import arrays, assert_close, fill, manifest, painted
from utils.geometry.grids import Grid, cell_of

CASES = manifest("models")


@pytest.mark.parametrize("name", CASES)
def test_output_and_parameters(name: str) -> None:
    case, stored = CASES[name], arrays("models", name)
    model = fill(models.make(case["model"]))
    assert {n: list(p.shape) for n, p in model.named_parameters()} == dict(case["parameters"])
    size, batch = tuple(case["output_size"]), len(stored["image"])
    cell = (cell_of(size) * case["cell_factor"]).expand(batch, 2)
    grid = Grid.of_size(size)
    with torch.inference_mode():
        field = model.field(model.encode(stored["image"]), cell)
        for backend in backends_of(model):
            with backends.using(backend):
                assert_close(painted(model, field, grid), stored["output"], 1e-4)
                if type(model).paint is models.ContinuousModel.paint:  # which samples
                    continue
                sampled = model.sample(field, grid.coord().flatten(0, 1).expand(batch, -1, -1))
            assert_close(sampled.transpose(1, 2).unflatten(2, size), stored["output"], 1e-4)


def backends_of(model: models.ContinuousModel) -> list[str]:
    """PyTorch, and the model's own kernels if there are any."""
    name = model.native_library
    return ["torch"] if name is None or backends.library(name) is None else ["torch", "native"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_cuda(name: str) -> None:
    """On a GPU, by PyTorch and, where they are, by Triton's kernels."""
    case, stored = CASES[name], arrays("models", name)
    model = fill(models.make(case["model"])).to("cuda")
    size, image = tuple(case["output_size"]), stored["image"].to("cuda")
    cell = (cell_of(size) * case["cell_factor"]).expand(len(image), 2)
    field = model.field(model.encode(image), cell if model.cell_on_cpu else cell.to("cuda"))
    for backend in ("torch", "auto"):
        output = torch.zeros(len(image), 3, *size, device="cuda")
        with backends.using(backend):
            model.paint(field, Grid.of_size(size), output)
        assert_close(output.cpu(), stored["output"], 1e-4)
