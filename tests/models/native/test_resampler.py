"""The native resampler gives what PyTorch gives: on grids, at any positions, and under homographies."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import models
from models.lerf.stages import KERNELS as KERNELS_BY_NAME
from models.native import backends
from models.native.resampler import GAUSS, HYPER_PARAMETERS, LINEAR, resample_grid, resample_points, resample_warped
from models.resampling.resampler import NATIVE_KERNELS
from tests.commands import ROOT
from tests.golden_cases import painted
from tests.models.native.cases import (
    KERNELS,
    SIZES,
    SUPPORTS,
    assert_same_levels,
    examples,
    make,
    random_latent,
    with_tables,
)
from utils.errors import InputError
from utils.geometry.grids import Grid, cell_of, sample_nearest
from utils.geometry.homographies import Homography

pytestmark = pytest.mark.skipif(backends.library("resampler") is None, reason="needs a C++ compiler")


@examples(80)
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
            with backends.using("native"):
                native_picture = painted(model, model.field(latent, cell), grid)
            with backends.using("torch"):
                picture = painted(model, model.field(latent, cell), grid)
            assert_same_levels(native_picture, picture)
            assert kernel == "gauss" or torch.equal(native_picture, picture)  # no exponential: the same to the last bit


@pytest.mark.parametrize("support", [2, 4])
@torch.inference_mode()
def test_columns_of_whole_scales(support) -> None:
    """Spans of as many columns each, but at the borders, are put in order by loops of their own."""
    torch.manual_seed(0)
    model = make("linear", support=support)
    latent = random_latent(model, 1, 3, (5, 37))
    for scale in (1, 2, 3, 4, 5, 8, 2.5):
        size, pictures = (int(5 * scale), int(37 * scale)), []
        for backend in ("native", "torch"):
            with backends.using(backend):
                pictures.append(painted(model, model.field(latent, cell_of(size)[None]), Grid.of_size(size)))
        assert torch.equal(*pictures)


@examples(80)
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
        with torch.inference_mode(), backends.using(backend):
            sampled.append(model.sample(model.field(latent, cell), coord))
    assert_same_levels(*sampled)


@examples(80)
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
    results = []
    for backend in ("native", "torch"):
        with torch.inference_mode(), backends.using(backend):
            field = model.field(latent, cell)
            results.append(painted(model, field, grid))
    warped, portable = results
    coord, inside = grid.positions(range(size[0]))
    on_the_border = ((coord.abs() - 1).abs() < 1e-9).any(0)
    assert not warped[:, :, ~inside & ~on_the_border].any()
    # Positions that differ in the last digit may have other taps: exactly where a pixel is at an end of the support or,
    # with a stretch that varies, half-way between two.
    stretch = sample_nearest(field.stretch.permute(0, 2, 3, 1), coord.float().flatten(1).T.expand(2, -1, 2))
    tie = on_the_border.expand(2, -1, -1).clone()
    for position, n, own in zip(coord, input_size, stretch.unbind(-1), strict=True):
        center, reach = ((position + 1) * n - 1) / 2, model.kernel.radius * own.view(2, *size)
        for edge in (center - reach, center + reach, center + 0.5):
            tie |= (edge - edge.round()).abs() < 1e-4
    close = (portable - warped).abs().amax(1) < 1e-4
    assert bool((close | tie)[:, inside].all())


def test_threads_change_nothing() -> None:
    torch.manual_seed(0)
    model, picture, before = with_tables("gauss", "sct", 90), torch.rand(1, 3, 70, 40), []
    grid = Homography.rotation(20, (70, 40), (150, 90), (2, 2)).grid((70, 40), (150, 90))
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            with torch.inference_mode(), backends.using("native"):
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


@pytest.mark.thorough
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


WARP = Homography(torch.eye(3)).grid((4, 4), (5, 5))


def arguments(kernel: int, planes: int) -> tuple[object, ...]:
    return kernel, torch.zeros(1, 4, 4, planes), torch.ones(1, 2, 1, 1), 1


def test_wrong_arrays_are_refused() -> None:
    library, grid, planes = backends.library("resampler"), Grid.of_size((3, 3)), torch.zeros(2, 4, 4)
    for words, kernel, table, stretch, on, output in (
        ("do not fit", GAUSS, torch.zeros(7, 4, 4), torch.ones(2), grid, (1, 3, 3)),
        ("the output has shape", LINEAR, planes, torch.ones(2), grid, (2, 3, 3)),
        ("stretch has shape", LINEAR, planes, torch.ones(1), grid, (1, 3, 3)),
        ("stretch must be above 0", LINEAR, planes, torch.zeros(2), grid, (1, 3, 3)),
        ("positions must be finite", LINEAR, planes, torch.ones(2), replace(grid, rows=grid.rows / 0), (1, 3, 3)),
    ):
        with pytest.raises(ValueError, match=words):
            resample_grid(library, kernel, table, stretch, 1, on, torch.zeros(output))
    for words, number, coord in (
        ("do not fit", 3, torch.zeros(1, 2, 3)),
        ("positions has shape", 2, torch.zeros(2, 2, 3)),
        ("float64", 2, torch.zeros(1, 2, 3).double()),
    ):
        with pytest.raises(ValueError, match=words):
            resample_points(library, *arguments(LINEAR, number), coord)
    with pytest.raises(ValueError, match="the output has shape"):
        resample_warped(library, *arguments(LINEAR, 2), WARP, torch.zeros(1, 1, 5, 4))


def test_every_learned_kernel_has_a_routine() -> None:
    """With its own number and hyper-parameters; kernels that C++ does not know are not computed as others."""
    library, axis = backends.library("resampler"), (torch.zeros(3), 3, 1.0)
    assert set(NATIVE_KERNELS) == set(KERNELS_BY_NAME.values())
    for kind, kernel in NATIVE_KERNELS.items():
        assert HYPER_PARAMETERS[kernel] == len(kind.hyper_parameters)
    for number, planes, words in ((2, 2, "unknown"), (-1, 2, "unknown"), (0, 4, "do not fit"), (1, 2, "do not fit")):
        picture = torch.zeros(planes, 4, 4), planes, 4, 4
        with pytest.raises(ValueError, match=words):
            library.call("resample_grid", number, *picture, 4, 4, 0, 0, *axis, *axis, 1.0, 1, torch.zeros(1, 3, 3), 1)


@pytest.mark.parametrize("cell", [1e9, torch.inf, -1.0, torch.nan])
@pytest.mark.parametrize("backend", ["native", "torch"])
def test_cells_that_no_output_has_are_refused(backend, cell) -> None:
    model = make("gauss")
    latent = random_latent(model, 1, 3, (6, 5))
    for cells in (torch.full((1, 2), cell), torch.full((1, 2, 6, 5), cell)):
        with backends.using(backend), pytest.raises(InputError, match=r"an output pixel has a size beyond 0\.\.16"):
            model.field(latent, cells)


@pytest.mark.parametrize("stretch", [1e9, torch.inf])
def test_kernels_without_end_are_refused(stretch) -> None:
    """They kept the routine in a loop for hours, or for ever."""
    library, table = backends.library("resampler"), torch.zeros(1, 4, 4, 2)
    given = LINEAR, table, torch.full((1, 2, 1, 1), stretch), 1
    with pytest.raises(ValueError, match="give smaller cells"):
        resample_points(library, *given, torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="give smaller cells"):
        resample_warped(library, *given, WARP, torch.zeros(1, 1, 5, 5))


def test_channels_without_hyper_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="7 channels"):
        make("gauss").field(models.Latent(torch.zeros(1, 7, 4, 4), torch.zeros(1, 3, 4, 4)), cell_of((8, 8))[None])


@pytest.mark.parametrize(("kernel", "plane"), [("gauss", 0), ("gauss", 2), ("linear", 1)])
def test_nan_is_passed_on(kernel, plane) -> None:
    """A pixel, or what shapes its kernel, that is NaN makes NaN wherever it counts, and nowhere else."""
    model, size = make(kernel), (31, 27)
    latent, cell = random_latent(model, 1, 1, (9, 8)), cell_of(size)[None]
    latent.features[0, plane, 4, 3] = torch.nan
    coord, grid = torch.rand(1, 300, 2) * 2 - 1, Homography.rotation(10, (9, 8), size, (3, 3)).grid((9, 8), size)
    results = []
    for backend in ("native", "torch"):
        with torch.inference_mode(), backends.using(backend):
            field = model.field(latent, cell)
            pictures = (painted(model, field, g) for g in (Grid.of_size(size), grid))
            results.append([model.sample(field, coord), *pictures])
    for computed, expected in zip(*results, strict=True):
        assert torch.equal(computed.isnan(), expected.isnan())
        assert 0 < computed.isnan().float().mean() < 0.15
