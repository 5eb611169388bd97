"""Native routines at any shapes and positions, the impossible ones, too: a result or a ValueError, and no more memory
than is theirs (test_sanitizers.py runs this file on instrumented builds)."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.native import backends
from models.native.lmf import RenderStage
from models.native.resampler import GAUSS, HYPER_PARAMETERS, resample_grid, resample_points
from tests.models.native.cases import examples
from utils.geometry.grids import Grid, pixel_centers
from utils.geometry.homographies import SMALLEST_DEPTH
from utils.geometry.neighbours import AxisLookup, look_up, look_up_spans

pytestmark = pytest.mark.skipif(backends.library("lmf") is None, reason="needs a C++ compiler")

SIDES = st.sampled_from([0, 1, 1, 2, 3, 5, 8, 17, 33])
SIZES = st.tuples(SIDES, SIDES)
SEEDS = st.integers(0, 10**6)
ORDINARY = st.floats(-1.25, 1.25, width=32)
POSITIONS = st.one_of(ORDINARY, ORDINARY, st.sampled_from([-1.0, 1.0, 0.0, -0.0, 1e-38, 3e4, -1e9, 1e30, -1e38]))
ANYWHERE = st.one_of(POSITIONS, POSITIONS, st.sampled_from([torch.inf, -torch.inf, torch.nan]))
STRETCHES = st.sampled_from([1.0, 1.0, 1.001, 1.5, 2.0, 7.3, 1e5, 1e9, 1e38, torch.inf, torch.nan])
RADII = st.sampled_from([1, 2])


def random(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def column(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


@examples(60)
@given(
    kernel=st.sampled_from([*HYPER_PARAMETERS]),
    channels=st.integers(0, 3),
    size=SIZES,
    rows=st.lists(POSITIONS, max_size=40),
    columns=st.lists(ANYWHERE, max_size=70),
    in_order=st.booleans(),
    radius=RADII,
    stretch=st.sampled_from([1.0, 1.001, 1.5, 7.3, 40.0]),
    seed=SEEDS,
)
def test_grids(kernel, channels, size, rows, columns, in_order, radius, stretch, seed) -> None:
    planes = random(seed, (1 + HYPER_PARAMETERS[kernel]) * channels, *size)
    y, x = (column(sorted(values) if in_order else values) for values in (rows, columns))
    grid, stretches = Grid(y, x, (len(y), len(x))), torch.full((2,), stretch)
    output = torch.zeros(channels, len(rows), len(columns))
    try:
        resample_grid(backends.library("resampler"), kernel, planes, stretches, radius, grid, output)
    except ValueError:
        assert 0 in size or not x.isfinite().all()
        return
    assert 0 not in size
    near = ((y.abs() < 2)[:, None] & (x.abs() < 2)).expand_as(output)
    if kernel == GAUSS:  # linear kernels may have weights of sum 0
        assert output[near].isfinite().all()


@examples(60)
@given(
    kernel=st.sampled_from([*HYPER_PARAMETERS]),
    batch=st.integers(0, 2),
    channels=st.integers(0, 6),
    size=SIZES,
    queries=st.lists(st.tuples(ANYWHERE, ANYWHERE), max_size=100),
    radius=RADII,
    stretch=st.lists(STRETCHES, min_size=1, max_size=4),
    varying=st.booleans(),
    seed=SEEDS,
)
def test_points(kernel, batch, channels, size, queries, radius, stretch, varying, seed) -> None:
    table = random(seed, batch, *size, (1 + HYPER_PARAMETERS[kernel]) * channels)
    coord = column(queries).view(-1, 2).T.expand(batch, -1, -1).contiguous()
    shape = (batch, 2, *size) if varying else (batch, 2, 1, 1)
    count = torch.Size(shape).numel()
    stretches = column((stretch * (count // len(stretch) + 1))[:count]).view(shape)
    try:
        values = resample_points(backends.library("resampler"), kernel, table, stretches, radius, coord)
    except ValueError:
        assert 0 in size or (stretches > 1e4).any()
        return
    assert 0 not in size
    assert values.shape == (batch, channels, len(queries))
    near = (coord.abs() < 2).all(1)[:, None].expand_as(values)
    if kernel == GAUSS and stretches.isfinite().all():
        assert values[near].isfinite().all()


@examples(60)
@given(
    kernel=st.sampled_from([*HYPER_PARAMETERS]),
    batch=st.integers(0, 2),
    channels=st.integers(0, 4),
    input_size=SIZES,
    size=st.tuples(SIDES, st.sampled_from([0, 1, 15, 16, 127, 128, 129, 300])),
    forms=st.lists(st.one_of(st.floats(-0.1, 0.1), ANYWHERE, st.just(0.0)), min_size=9, max_size=9),
    stretch=STRETCHES,
    seed=SEEDS,
)
def test_warps(kernel, batch, channels, input_size, size, forms, stretch, seed) -> None:
    library, table = (
        backends.library("resampler"),
        random(seed, batch, *input_size, (1 + HYPER_PARAMETERS[kernel]) * channels),
    )
    output = torch.full((batch, channels, *size), 7.0)
    warp = torch.tensor(forms, dtype=torch.float64), SMALLEST_DEPTH, channels, *size
    pictures = table, *table.shape, torch.full((batch, 2), stretch), True, 1.0
    if 0 in input_size:
        with pytest.raises(ValueError, match="no pixels"):
            library.call("resample_warped", kernel, *pictures, *warp, output, 2)
        return
    try:
        library.call("resample_warped", kernel, *pictures, *warp, output, 2)
    except ValueError:
        assert stretch > 1e4


@st.composite
def stages(draw) -> RenderStage:
    """Render MLPs of every size on pictures of every shape, with tables and outputs of every memory order."""
    hidden, depth = draw(st.sampled_from([1, 3, 8, 15, 16, 16, 17, 33, 40])), draw(st.integers(1, 4))
    waves, seed, batch = draw(st.sampled_from([0, 0, 2, 6, 16, 34])), draw(SEEDS), draw(st.integers(0, 2))
    height, width = draw(SIZES)
    scale, shift = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    widths = [waves or 2, *depth * [hidden], 3]
    parameters = [random(seed, *shape) for i, o in pairwise(widths) for shape in ((o, i), (o,))]
    if not waves:
        del parameters[1]
    skip = (
        random(seed, batch, 3, *draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))) if draw(st.booleans()) else None
    )
    table = random(seed, batch, height, width, waves * 5 // 2 or hidden)
    modulation = random(seed, batch, height, width, (scale + shift) * depth * hidden)
    if draw(st.booleans()):  # as convolutions leave them
        table, modulation = (t.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1) for t in (table, modulation))
    network = {"hidden": hidden, "depth": depth, "waves": waves, "has_scale": scale, "has_shift": shift}
    tensors = {"parameters": parameters, "table": table, "modulation": modulation, "skip": skip}
    return RenderStage(library=backends.library("lmf"), **network, **tensors)


@examples(60)
@given(stage=stages(), size=st.tuples(st.integers(1, 30), st.integers(1, 70)), ensemble=st.booleans(), seed=SEEDS)
def test_painting(stage, size, ensemble, seed) -> None:
    batch, *input_size = stage.table.shape[:3]
    positions = [pixel_centers(n) for n in size]
    axes = [look_up_spans(p, max(n, 1), ensemble) for p, n in zip(positions, input_size, strict=True)]
    output = torch.full((batch, *size, 3), torch.nan).permute(0, 3, 1, 2)
    chosen = random(seed, batch, *(len(axis.start) for axis in axes)) < 0.5 if seed % 2 else None
    try:
        stage.render(*axes, positions, output, chosen)
    except ValueError:
        assert 0 in input_size
        return
    assert 0 not in input_size
    if chosen is None:
        assert output.isfinite().all()
    else:
        spans = chosen.repeat_interleave(axes[0].length, 1).repeat_interleave(axes[1].length, 2)
        assert torch.equal(output.isfinite(), spans[:, None].expand_as(output))


@examples(60)
@given(
    stage=stages(),
    queries=st.lists(st.tuples(POSITIONS, POSITIONS), max_size=60),
    wrong=st.sampled_from([0, 0, 0, -1, 1, 10**12, -(2**63)]),
    ensemble=st.booleans(),
)
def test_samples(stage, queries, wrong, ensemble) -> None:
    batch, *size = stage.table.shape[:3]
    coord = column(queries).view(-1, 2).expand(batch, -1, -1)
    y, x = (look_up(coord[..., axis], max(size[axis], 1), ensemble) for axis in (0, 1))
    y = AxisLookup(y.index + (wrong * max(size[0], 1) if abs(wrong) == 1 else wrong), y.offset)
    try:
        values = stage.sample(y, x, coord)
    except ValueError:
        assert wrong or 0 in size
        return
    assert not (wrong or 0 in size) or 0 in values.shape
    assert values.shape == (batch, len(queries), 3)
    assert values[(coord.abs() < 2).all(-1)].isfinite().all()
