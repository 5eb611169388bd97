"""LeRF gives the published program's features, hyper-parameters, pictures and scores."""

import json
from dataclasses import replace

import pytest
import torch

import models
from evaluation.measure import measure_pair, measure_warped, warped
from evaluation.protocols import find_protocol
from models.checkpoints.loading import load_upscaler
from models.native import backends
from models.resampling.kernels import AmplifiedLinear, SteerableGaussian
from models.resampling.resampler import Resampler, ResamplingField
from pictures.reading import read_rgb
from pictures.tensors import to_tensor
from tests.golden_cases import FOLDER, arrays, assert_close, fill, manifest, painted
from utils.geometry.grids import Grid
from utils.geometry.homographies import Homography
from utils.geometry.matrices import matrix_of

CASES = manifest("lerf")
KERNELS = {"gauss": SteerableGaussian(), "linear": AmplifiedLinear()}
SCORES = json.loads((FOLDER / "lerf-g.metrics.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_parameter_names(name) -> None:
    model = models.make({"name": name, "args": {"nf": CASES[name]["args"]["nf"]}})
    assert {n: list(p.shape) for n, p in model.named_parameters()} == dict(CASES[name]["parameters"])


def test_networks_are_exact(shared) -> None:
    stored = arrays("lerf", "lerf-g")
    model = load_upscaler(shared / "data/lerf-g/Model_050000.pth").model
    with torch.inference_mode():
        feature, hyper = model.stages(stored["image"][None] / 255)
    assert torch.equal(feature.to(torch.uint8), stored["feature"])
    levels = (hyper * 255).round().to(torch.uint8)
    assert torch.equal(levels.transpose(1, 2).flatten(1, 2), stored["hyper"])  # channels of one colour side by side


def test_lerf_net() -> None:
    stored = arrays("lerf", "lerf-net")
    model = fill(models.make({"name": "lerf-net"}))
    with torch.inference_mode():
        feature, hyper = model.stages(stored["image"][None] / 255)
    assert_close(feature, stored["feature"], 1e-3)
    assert_close(hyper.flatten(1, 2), stored["hyper"], 1e-3)


def resampling_field(kind: str) -> tuple[Resampler, ResamplingField, dict[str, torch.Tensor]]:
    stored = arrays("lerf", "resampling")
    hyper = stored["alpha"]
    if kind == "gauss":  # stored with the channels of one colour side by side
        hyper = stored["hyper"].unflatten(0, (3, 3)).transpose(0, 1).flatten(0, 1)
    table = torch.cat([stored["feature"], hyper]).permute(1, 2, 0)[None]
    return Resampler(KERNELS[kind]), ResamplingField(table, stretch=torch.ones(1, 2, 1, 1)), stored


def centred(n: int, scale: float, n_out: int) -> torch.Tensor:
    """Positions of the published program: scales that do not fit are taken exactly, centre to centre."""
    return (torch.arange(n_out, dtype=torch.float64) - (n_out - 1) / 2) * (2 / (scale * n))


@pytest.fixture
def large_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's interpreter runs one program after another, with some milliseconds for each."""
    monkeypatch.setattr(pytest.importorskip("models.native.triton_lerf"), "BLOCK", 1 << 14)


@pytest.mark.parametrize("kind", KERNELS)
@pytest.mark.parametrize("scale", [(2, 2), (4, 4), (1.5, 2), (2.7, 3.3)])
@torch.inference_mode()
def test_resampling_at_scales(large_blocks, kind, scale) -> None:
    resampler, field, stored = resampling_field(kind)
    expected = stored[f"{kind}_{scale[0]}_{scale[1]}"]
    grid = Grid(*map(centred, field.size, scale, expected.shape[1:]), tuple(expected.shape[1:]))
    rows, columns = (((p + 1) * n - 1) / 2 for p, n in zip((grid.rows, grid.columns), field.size, strict=True))
    inside = [(y >= 1) & (y <= n - 2) for y, n in zip((rows, columns), field.size, strict=True)]
    rounded = Grid(grid.rows.float(), grid.columns.float(), grid.full_size)
    # Levels of 0..255; positions of other precision than float32 are PyTorch's
    for backend, positions, tolerance in (("auto", grid, 1e-3), ("auto", rounded, 2e-3), ("triton", rounded, 2e-3)):
        with backends.using(backend):
            difference = (painted(resampler, field, positions)[0] - expected)[:, inside[0]][:, :, inside[1]]
        assert_close(difference, torch.zeros_like(difference), tolerance)
    assert difference.numel() > 0.6 * expected.numel()


@pytest.mark.parametrize("kind", KERNELS)
def test_resampling_under_a_homography(large_blocks, kind) -> None:
    resampler, field, stored = resampling_field(kind)
    expected = stored[f"{kind}_warp"]
    size = tuple(expected.shape[1:])
    grid = Homography(stored["homography"]).grid(field.size, size)
    coord, inside = grid.positions(range(size[0]))
    for position, n in zip(coord, field.size, strict=True):
        pixel = ((position + 1) * n - 1) / 2
        inside &= (pixel >= 1) & (pixel <= n - 2)
    assert inside.float().mean() > 0.4
    warped = resampler.sample(field, coord.flatten(1).T[None])[0].T.unflatten(1, size)
    assert_close(warped[:, inside], expected[:, inside], 1e-3)
    for backend in ("auto", "torch", "triton"):
        with torch.inference_mode(), backends.using(backend):
            warped = painted(resampler, field, grid)
        # Levels of 0..255, at positions rounded to float32.
        assert_close(warped[0][:, inside], expected[:, inside], 2e-3)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_published_tables_on_set5(large_blocks, shared, scale) -> None:
    upscaler = load_upscaler(shared / "data/lerf-g")
    folder = shared / f"data/Set5/LR_bicubic/rrLR_X{scale}.00_{scale}.00"
    for number, (name, (psnr, ssim)) in enumerate(SCORES["sr"][str(scale)].items()):
        lr, hr = read_rgb(folder / name), read_rgb(shared / "data/Set5/HR" / name)
        hr = hr[: scale * lr.shape[0], : scale * lr.shape[1]]
        for backend in ("auto", "triton") if number == 1 and scale == 4 else ("auto",):
            pair = replace(upscaler, backend=backend), to_tensor(lr), to_tensor(hr)
            scores, _ = measure_pair(*pair, find_protocol("lerf"), (scale, scale))
            assert scores["psnr"] == pytest.approx(psnr, abs=0.005)
            assert scores["ssim"] == pytest.approx(ssim, abs=0.0005)


@pytest.mark.parametrize("warp", ["isc", "osc"])
def test_published_tables_on_warped_set5(shared, warp) -> None:
    upscaler = load_upscaler(shared / "data/lerf-g")
    for name, mpsnr in SCORES["warp"][warp].items():
        lr, hr = (to_tensor(read_rgb(shared / "data/Set5" / kind / name)) for kind in (warp, "HR"))
        homography = Homography(matrix_of((shared / "data/Set5" / warp / name).with_suffix(".pth")))
        picture = warped(upscaler, lr, hr, homography)
        scores = measure_warped(picture, lr, hr, homography, find_protocol("lerf"))
        assert scores["mpsnr"] == pytest.approx(mpsnr, abs=0.005)
