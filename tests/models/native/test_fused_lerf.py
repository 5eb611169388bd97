"""LeRF's Triton kernels in Triton's interpreter: stages are exact, resampling equals PyTorch's."""

import pytest
import torch

from models.native import backends
from models.upscaler import Upscaler
from tests.golden_cases import assert_close, painted
from tests.models.native.cases import make, random_latent, with_tables
from utils.geometry.grids import Grid
from utils.geometry.homographies import Homography

triton_lerf = pytest.importorskip("models.native.triton_lerf")


@pytest.fixture(autouse=True)
def large_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter runs one program after another, with some milliseconds for each."""
    monkeypatch.setattr(triton_lerf, "BLOCK", 1024)


@pytest.mark.parametrize("kernel", ["gauss", "linear"])
@torch.inference_mode()
def test_stages_are_exact(kernel) -> None:
    """Ties are rounded alike, between levels of 8 bits, too; NaN is passed on."""
    model, image = with_tables(kernel, "sct", 127), (torch.rand(1, 2, 9, 12) * 300 - 20).round() / 255
    image[0, 0, 2, 3], image[0, 1, 4, 4] = 0.3333, torch.nan
    pictures = []
    for backend in ("torch", "triton"):
        with backends.using(backend):
            pictures.append(model.encode(image).features)
    assert torch.equal(pictures[0].isnan(), pictures[1].isnan())
    assert_close(pictures[1].nan_to_num(), pictures[0].nan_to_num(), 1e-6)


@pytest.mark.parametrize(
    ("kernel", "support", "size", "output"),
    [("gauss", 2, (6, 5), (17, 11)), ("linear", 2, (5, 4), (3, 2)), ("linear", 4, (1, 1), (1, 2))],
)
@torch.inference_mode()
def test_resampling_equals_pytorch(kernel, support, size, output) -> None:
    """Enlarged and reduced, grids, warps and positions, of batches."""
    torch.manual_seed(0)
    model = make(kernel, support=support)
    latent, grid = random_latent(model, 2, 1, size), Grid.of_size(output)
    warp = Homography.rotation(30, size, output, (0.8, 1.2)).grid(size, output)
    coord, results = torch.rand(2, 20, 2) * 2 - 1, []
    for backend in ("torch", "triton"):
        with backends.using(backend):
            fields = [model.field(latent, model.cell(latent, of)) for of in (grid, warp)]
            pictures = [painted(model, field, of) for field, of in zip(fields, (grid, warp), strict=True)]
            results.append([*pictures, model.sample(fields[0], coord)])
    for expected, computed in zip(*results, strict=True):
        assert_close(computed, expected, 1e-5)


@torch.inference_mode()
def test_a_window_of_a_picture() -> None:
    model, image = with_tables("linear", "s", 127), torch.rand(1, 1, 6, 5)
    whole, part = (Upscaler(model, backend=backend) for backend in ("torch", "triton"))
    grid = Grid.of_size((15, 12))
    expected = whole.render(whole.encode(image), grid)[:, :, 5:9, 3:8]
    assert_close(part.render(part.encode(image), grid.window(5, 3, (4, 5))), expected, 1e-5)
