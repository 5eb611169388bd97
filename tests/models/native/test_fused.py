"""Triton kernels in Triton's interpreter, which runs on the CPU what a GPU would: those of LMF and LeRF equal PyTorch's
grids, positions, chosen pixels and gradients, and the published programs' pictures; LUT stages are exact."""

import pytest
import torch

import models
from models.cmsr.rendering import Level, render_controlled
from models.native import backends, fused
from models.upscaler import Upscaler
from tests.conftest import SMALL_LMLIIF
from tests.golden_cases import arrays, assert_close, fill, manifest, painted
from tests.models.native.cases import lmf, make, random_latent, with_tables
from tests.registered import small_spec
from utils.errors import InputError
from utils.geometry.grids import Grid, cell_of
from utils.geometry.homographies import Homography
from utils.geometry.neighbours import PixelWindow

triton_lerf = pytest.importorskip("models.native.triton_lerf")

GOLDEN = {name: case for name, case in manifest("models").items() if case["model"]["name"].startswith("lm")}


@pytest.fixture(autouse=True)
def large_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter runs one program after another, with some milliseconds for each."""
    monkeypatch.setattr(fused, "PAINTED_TILE", (16, 32))
    monkeypatch.setattr(fused, "SAMPLED_TILE", (1, 512))
    monkeypatch.setattr(fused, "GRADIENT_TILE", (1, 128))
    monkeypatch.setattr(triton_lerf, "BLOCK", 1024)


@pytest.fixture
def model() -> models.ContinuousModel:
    torch.manual_seed(0)
    return models.make(SMALL_LMLIIF).eval()


QUICK = [f"edsr-baseline-{name}" for name in ("lmliif", "lmlte", "lmciaosr")]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.thorough) for n in GOLDEN])
@torch.inference_mode()
def test_golden_cases(name) -> None:
    case, stored = GOLDEN[name], arrays("models", name)
    model = fill(models.make(case["model"]))
    size, batch = tuple(case["output_size"]), len(stored["image"])
    field = model.field(model.encode(stored["image"]), (cell_of(size) * case["cell_factor"]).expand(batch, 2))
    pictures = {}
    for backend in ("triton", "auto"):
        with backends.using(backend):
            pictures[backend] = painted(model, field, Grid.of_size(size))
    assert_close(pictures["triton"], stored["output"], 1e-4)
    assert_close(pictures["triton"], pictures["auto"], 1e-5)


SHAPES = {
    "narrow": lmf("lmliif", 6, 3, lr_skip=True),
    "wide": lmf("lmliif", 24, 1),
    "scales": lmf("lmliif", shift=False, cell_decode=False),
    "shifts": lmf("lmliif", scale=False, lr_skip=True, local_ensemble=False),
    "waves": lmf("lmlte", 16, 2, hidden_dim=20),
    "all-waves": lmf("lmlte", 8, 1, hidden_dim=20, mod_input=False, local_ensemble=False),
    "attention": lmf("lmciaosr", 16, 3),
}


@pytest.mark.parametrize(
    ("shape", "batch", "size", "output"),
    [*((shape, 2, (5, 4), (13, 9)) for shape in SHAPES), ("narrow", 1, (1, 1), (3, 2)), ("waves", 1, (3, 7), (1, 1))],
)
@torch.inference_mode()
def test_kernels_equal_pytorch(shape, batch, size, output) -> None:
    """Grids, any positions, warps, and CMSR's chosen pixels."""
    torch.manual_seed(1)
    model = models.make(SHAPES[shape]).eval()
    for parameter in model.parameters():  # as large as after training, so that no part of the MLP is idle
        parameter.data *= 2
    image = torch.rand(batch, 3, *size) * 2 - 1
    latent, first = model.encode(image), model.encode(image[:1])
    field, coord = model.field(latent, cell_of(output).expand(batch, 2)), torch.rand(batch, 37, 2) * 2.2 - 1.1
    warp = Homography.rotation(20, size, output, (1.5, 1.5)).grid(size, output)
    levels = [Level(1, float(model.intensity(field).quantile(0.4)) + 1e-4), Level(50, 1)]
    results = []
    for backend in ("torch", "triton"):
        controlled = render_controlled(Upscaler(model, backend=backend), first, output, levels).picture
        with backends.using(backend):
            grids = [painted(model, field, grid) for grid in (Grid.of_size(output), warp)]
            results.append([*grids, model.sample(field, coord), controlled])
    for expected, computed in zip(*results, strict=True):
        assert_close(computed, expected, 1e-5 * max(1.0, float(expected.abs().max())))


@torch.inference_mode()
def test_a_part_of_a_picture(model) -> None:
    """Of a field that holds few LR pixels, into a window of the output, of any strides."""
    latent, grid = model.encode(torch.rand(1, 3, 12, 10)), Grid.of_size((31, 27))
    cell, window = model.cell(latent, grid), PixelWindow((12, 10), 3, 2, 7, 6)
    output = torch.zeros(1, 3, 31, 27).to(memory_format=torch.channels_last)
    inner = grid.window(13, 9, (8, 7))
    with backends.using("triton"):
        model.paint(model.field_of_part(latent, cell, window), inner, output[:, :, 13:21, 9:16])
    with backends.using("torch"):
        expected = painted(model, model.field(latent, cell), inner)
    assert_close(output[:, :, 13:21, 9:16], expected, 1e-5)
    assert output.count_nonzero() <= expected.numel()


@pytest.mark.parametrize("spec", [small_spec("lmliif"), SHAPES["waves"], SHAPES["shifts"]])
def test_gradients(spec) -> None:
    """Of every parameter, through the table and the modulations, at positions that share LR pixels."""
    torch.manual_seed(0)
    model, image, coord = models.make(spec), torch.rand(2, 3, 4, 5), torch.rand(2, 50, 2) * 2.2 - 1.1
    target, found = torch.rand(2, 50, 3), []
    for backend in ("torch", "triton"):
        model.zero_grad()
        with backends.using(backend):
            values = model(image, coord, cell_of((20, 18)).expand(2, 2))
        (values - target).square().mean().backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, expected in found[0].items():
        assert_close(found[1][name], expected, 1e-5 * max(1.0, float(expected.abs().max())))


def test_backward_keeps_nothing_of_a_position(model) -> None:
    """What autograd holds does not grow with the number of positions, but for these and their values."""
    image, cell, held = torch.rand(1, 3, 6, 6), torch.full((1, 2), 0.1), []
    for queries in (100, 200):
        kept = []
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t.numel()) or t, lambda t: t)
        with hooks, backends.using("triton"):
            model(image, torch.rand(1, queries, 2), cell)
        held.append(sum(kept))
    assert held[1] - held[0] < 100 * 40  # the skip picture's samples; modulations of four neighbours alone are 384


def test_where_kernels_cannot_compute(model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not backends.fuses(torch.zeros(1))  # "auto" leaves a CPU to its own routines
    with backends.using("triton"):
        assert backends.fuses(torch.zeros(1))
        with pytest.raises(InputError, match="it computes float32; use auto or torch"):
            backends.fuses(torch.zeros(1, dtype=torch.float64))
        monkeypatch.setenv("TRITON_INTERPRET", "0")
        with pytest.raises(InputError, match="it computes on CUDA devices"):
            backends.fuses(torch.zeros(1))
    with pytest.raises(InputError, match="no Triton kernels"):
        backends.check("triton", None)


@pytest.mark.parametrize("kernel", ["gauss", "linear"])
@torch.inference_mode()
def test_lut_stages_are_exact(kernel) -> None:
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
def test_a_window_of_a_lerf_picture() -> None:
    model, image = with_tables("linear", "s", 127), torch.rand(1, 1, 6, 5)
    whole, part = (Upscaler(model, backend=backend) for backend in ("torch", "triton"))
    grid = Grid.of_size((15, 12))
    expected = whole.render(whole.encode(image), grid)[:, :, 5:9, 3:8]
    assert_close(part.render(part.encode(image), grid.window(5, 3, (4, 5))), expected, 1e-5)
