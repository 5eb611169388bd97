"""LeRF's kernels give what PyTorch gives: table stages exactly, resampling on grids and at any positions."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import models
from models import native
from models.lerf.patterns import PATTERNS
from models.native.lerf import resample_grid, resample_points, resample_warped, table_stage
from models.native.positions import warped_positions
from tests.commands import ROOT
from tests.golden_cases import assert_close, painted
from utils.geometry.grids import Grid, cell_of
from utils.geometry.homographies import Homography
from utils.geometry.neighbours import axis_taps

pytestmark = pytest.mark.skipif(
    native.library("lerf") is None or native.library("resampler") is None, reason="needs a C++ compiler"
)

SIDES = st.integers(1, 24)
SIZES = st.tuples(SIDES, SIDES)
KERNELS = st.sampled_from(["gauss", "linear"])
SUPPORTS = st.sampled_from([2, 4])


def make(kernel: str, modes: str = "s", support: int = 2, antialias: bool = True) -> models.ContinuousModel:
    args = {"kernel": kernel, "modes": modes, "support": support, "antialias": antialias}
    return models.make({"name": "lerf-lut", "args": args}).eval()


@functools.cache
def with_tables(kernel: str, modes: str, largest: int) -> models.ContinuousModel:
    model = make(kernel, modes)
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randint(-largest, largest + 1, parameter.shape).float()
    return model


def random_latent(model: models.ContinuousModel, batch: int, channels: int, size: tuple[int, int]) -> models.Latent:
    """Pictures and hyper-parameters in whole levels, the extreme ones more often than others."""
    planes = (1 + len(model.kernel.hyper_parameters)) * channels
    levels = (torch.rand(batch, planes, *size) * 300 - 22).clamp(0, 255).round()
    return models.Latent(levels / 255, levels)


def assert_same_levels(native: Tensor, portable: Tensor) -> None:
    """Equal to 1e-5, and after rounding to 8 bits, but where the level is half-way between two."""
    assert_close(native, portable, 1e-5)
    levels = portable * 255
    tie = (levels - levels.floor() - 0.5).abs() < 255e-5
    assert torch.equal((native * 255).round()[~tie], levels.round()[~tie])


@settings(max_examples=100, deadline=None)
@given(
    kernel=KERNELS,
    modes=st.sampled_from(["s", "c", "t", "sc", "ts", "sct"]),
    batch=st.integers(1, 2),
    size=st.tuples(st.integers(1, 36), st.integers(1, 80)),
    smooth=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_stages_are_exact(kernel, modes, batch, size, smooth, seed) -> None:
    torch.manual_seed(seed)
    model = with_tables(kernel, modes, 8 if smooth else 127)
    picture = torch.rand(batch, 3, *size)
    if smooth:  # equal and nearly equal fractions, and sums that are not clipped
        picture = picture * 0.02 + 0.5
    with torch.inference_mode():
        with native.using("native"):
            features = model.encode(picture).features
        with native.using("torch"):
            assert torch.equal(features, model.encode(picture).features)


@settings(max_examples=150, deadline=None)
@given(
    kernel=KERNELS,
    support=SUPPORTS,
    antialias=st.booleans(),
    batch=st.integers(1, 2),
    channels=st.sampled_from([1, 3, 4]),
    input_size=SIZES,
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    seed=st.integers(0, 1000),
)
def test_grids(kernel, support, antialias, batch, channels, input_size, size, seed) -> None:
    torch.manual_seed(seed)
    model = make(kernel, support=support, antialias=antialias)
    latent = random_latent(model, batch, channels, input_size)
    top, left = (int(torch.randint(0, n, ())) for n in size)
    whole = Grid.of_size(size)
    windows = [whole, whole.window(top, left, (size[0] - top, size[1] - left))]
    cell = cell_of(size).expand(batch, 2)
    with torch.inference_mode():
        for grid in windows:
            with native.using("native"):
                native_picture = painted(model, model.field(latent, cell), grid)
            with native.using("torch"):
                picture = painted(model, model.field(latent, cell), grid)
            assert_same_levels(native_picture, picture)
            assert kernel == "gauss" or torch.equal(native_picture, picture)  # no exponential: the same to the last bit


@settings(max_examples=150, deadline=None)
@given(
    kernel=KERNELS,
    support=SUPPORTS,
    channels=st.sampled_from([1, 3]),
    input_size=SIZES,
    queries=st.integers(1, 40),
    varying=st.booleans(),
    centres=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_positions(kernel, support, channels, input_size, queries, varying, centres, seed) -> None:
    torch.manual_seed(seed)
    model = make(kernel, support=support)
    latent = random_latent(model, 2, channels, input_size)
    coord = torch.rand(2, queries, 2) * 2.4 - 1.2
    if centres:
        positions = Grid.of_size(input_size).coord().flatten(0, 1)
        coord = positions[torch.randint(len(positions), (2, queries))]
    cell = cell_of(input_size) * torch.rand(2, 2) * 3
    if varying:
        cell = cell[:, :, None, None] * torch.rand(2, 2, *input_size)
    sampled = []
    for backend in ("native", "torch"):
        with torch.inference_mode(), native.using(backend):
            sampled.append(model.sample(model.field(latent, cell), coord))
    assert_same_levels(*sampled)


@settings(max_examples=150, deadline=None)
@given(
    kernel=KERNELS,
    support=SUPPORTS,
    channels=st.sampled_from([1, 3, 4]),
    input_size=SIZES,
    size=st.tuples(st.integers(1, 40), st.integers(1, 300)),
    tilt=st.floats(-0.1, 0.1),
    enlarged=st.booleans(),
    varying=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_warps(kernel, support, channels, input_size, size, tilt, enlarged, varying, seed) -> None:
    torch.manual_seed(seed)
    model = make(kernel, support=support)
    latent = random_latent(model, 2, channels, input_size)
    cell = cell_of(input_size) * torch.rand(2, 2) * 3
    if varying:
        cell = cell[:, :, None, None] * torch.rand(2, 2, *input_size)
    matrix = torch.eye(3, dtype=torch.float64) + 0.3 * torch.randn(3, 3, dtype=torch.float64)
    matrix[2] = torch.tensor([tilt, tilt / 3, 1])  # for the larger ones the horizon is in the output
    if enlarged:
        matrix[0] *= size[1] / input_size[1]
        matrix[1] *= size[0] / input_size[0]
    grid = Homography(matrix).grid(input_size, size)
    coord, inside = warped_positions(native.library("positions"), grid, range(size[0]))
    with torch.inference_mode():
        with native.using("native"):
            warped = painted(model, model.field(latent, cell), grid)
        with native.using("torch"):
            sampled = model.sample(model.field(latent, cell), coord.flatten(1).T.expand(2, -1, 2))
            portable = painted(model, model.field(latent, cell), grid)
    assert not warped[:, :, ~inside].any()
    assert warped.isfinite().all()
    assert warped.shape == portable.shape == (2, channels, *size)
    sampled = sampled.transpose(1, 2).unflatten(2, size)
    assert_same_levels(warped[:, :, inside], sampled[:, :, inside])
    # Positions of PyTorch's own, rounded otherwise, may be elsewhere, or have another tap at the end of a support.
    close = (portable[:, :, inside] - warped[:, :, inside]).abs() < 1e-3
    assert close.float().mean() > 0.99 or close.numel() < 1000


@pytest.mark.parametrize("kernel", ["gauss", "linear"])
def test_threads_change_nothing(kernel) -> None:
    torch.manual_seed(0)
    model, picture, before = with_tables(kernel, "sct", 90), torch.rand(1, 3, 70, 40), []
    grid = Homography.rotation(20, (70, 40), (150, 90), (2, 2)).grid((70, 40), (150, 90))
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            with torch.inference_mode(), native.using("native"):
                latent = model.encode(picture)
                field = model.field(latent, cell_of((150, 90))[None])
                coord = torch.linspace(-1, 1, 4000)[None, :, None].expand(1, -1, 2)
                whole = Grid.of_size((150, 90))
                results = [latent.features, painted(model, field, whole), model.sample(field, coord)]
                results.append(painted(model, field, grid))
            before = before or results
            assert all(map(torch.equal, results, before))
    finally:
        torch.set_num_threads(threads)


def test_another_default_type_changes_nothing() -> None:
    model, picture = with_tables("gauss", "s", 90), torch.rand(1, 3, 7, 9)
    grid = Homography.rotation(20, (7, 9), (15, 19), (2, 2)).grid((7, 9), (15, 19))
    results = []
    try:
        for default in (torch.float32, torch.float64):
            torch.set_default_dtype(default)
            with torch.inference_mode(), native.using("native"):
                latent = model.encode(picture)
                results.append([latent.features, *(model.render(latent, g) for g in (Grid.of_size((15, 19)), grid))])
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_too_little_memory_is_an_error_of_python() -> None:
    """A picture shrunk by 1000: kernels of four million pixels, and 64 MB left."""
    resource = pytest.importorskip("resource")
    code = (
        "import resource, torch, models; from utils.geometry.grids import Grid, cell_of; torch.set_num_threads(1);"
        "model = models.make({'name': 'lerf-lut', 'args': {'kernel': 'linear'}}); output = torch.zeros(1, 1, 3, 3);"
        "table = torch.rand(1, 2, 3000, 3000); field = model.field(models.Latent(table, table), cell_of((3, 3))[None]);"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + (64 << 20);"
        "resource.setrlimit(resource.RLIMIT_AS, (used, used)); model.paint(field, Grid.of_size((3, 3)), output)"
    )
    if not Path("/proc/self/statm").exists() or resource.getrlimit(resource.RLIMIT_AS)[1] != resource.RLIM_INFINITY:
        pytest.skip("needs Linux, and memory that can be limited")
    done = subprocess.run(
        [sys.executable, "-c", f"import torch\nwith torch.inference_mode(): exec({code!r})"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "MemoryError: not enough memory for resample_grid"


def test_a_grid_is_its_positions() -> None:
    torch.manual_seed(0)
    model = make("gauss")
    latent = random_latent(model, 1, 3, (9, 13))
    grid = Grid.of_size((31, 40))
    with torch.inference_mode(), native.using("native"):
        field = model.field(latent, cell_of((31, 40))[None])
        sampled = model.sample(field, grid.coord().flatten(0, 1)[None]).transpose(1, 2).unflatten(2, (31, 40))
        assert_close(painted(model, field, grid), sampled, 1e-5)


def test_training_goes_through_pytorch() -> None:
    model = make("linear")
    torch.manual_seed(0)
    model.s1_sr0.data = torch.randint(60, model.s1_sr0.shape).float()  # the picture is neither black nor even
    values = model(torch.rand(1, 3, 8, 8), torch.rand(1, 5, 2), cell_of((16, 16))[None])
    values.sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_wrong_arrays_are_refused() -> None:
    levels, table = torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(17**4, 1)
    library = native.library("lerf")
    for wrong in ((levels.float(), [table], [PATTERNS["s"]]), (levels, [table[:5]], [PATTERNS["s"]])):
        with pytest.raises(ValueError, match="expected"):
            table_stage(library, *wrong, 16, 0)
    with pytest.raises(ValueError, match="from its last pixel"):
        table_stage(library, levels, [table], [[(0, 0), (0, 1), (1, 1), (1, 0)]], 16, 0)
    with pytest.raises(ValueError, match="contiguous"):
        table_stage(library, levels.expand(3, 4, 4).transpose(1, 2)[:, :, :3], [table], [PATTERNS["s"]], 16, 0)
    taps = axis_taps(torch.zeros(3), 4, 1, torch.ones(1))
    library = native.library("resampler")
    with pytest.raises(ValueError, match="7 planes"):
        resample_grid(library, "gauss", torch.zeros(7, 4, 4), taps, taps, torch.zeros(2, 3, 3))
    with pytest.raises(ValueError, match="expected"):
        resample_points(library, "linear", torch.zeros(1, 4, 4, 2), torch.ones(1, 2, 1, 1), 1, torch.zeros(2, 2, 3))
    grid, pictures = Homography(torch.eye(3)).grid((4, 4), (5, 5)), (torch.zeros(1, 4, 4, 2), torch.ones(1, 2, 1, 1), 1)
    with pytest.raises(ValueError, match="expected"):
        resample_warped(library, "linear", *pictures, grid, torch.zeros(1, 1, 5, 4))
