"""LMF's native routines paint what PyTorch paints: grids, positions, chosen regions, for every shape of render MLP."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import models
from models.cmsr.rendering import Level, render_controlled
from models.decoders import lmf
from models.native import backends, fused
from models.native.lmf import RenderStage
from models.upscaler import Upscaler
from tests.conftest import SMALL_LMLIIF
from tests.golden_cases import assert_close, painted
from tests.models.native import cases as native_cases
from tests.models.native.cases import examples
from tests.pairs import paired
from utils.errors import InputError
from utils.geometry.grids import Grid, cell_of
from utils.geometry.homographies import Homography
from utils.geometry.neighbours import AxisLookup, look_up

pytestmark = pytest.mark.skipif(backends.library("lmf") is None, reason="needs a C++ compiler")


@st.composite
def specs(draw) -> dict:
    """Small LMF decoders of every kind."""
    name = draw(st.sampled_from(["lmliif", "lmlte", "lmciaosr"]))
    scale, shift = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    own: dict = {"mod_input": draw(st.booleans())}
    if name != "lmciaosr":
        own |= {"local_ensemble": draw(st.booleans()), "cell_decode": draw(st.booleans())}
        own |= {"hidden_dim": 20} if name == "lmlte" else {"lr_skip": draw(st.booleans())}
    shape = draw(st.sampled_from([16, 16, 8, 24, 6])), draw(st.integers(1, 4)), scale, shift
    return native_cases.lmf(name, *shape, **own)


@examples(60)
@given(
    spec=specs(),
    batch=st.integers(1, 2),
    input_size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    seed=st.integers(0, 1000),
)
def test_native_equals_portable(spec, batch, input_size, size, seed) -> None:
    torch.manual_seed(seed)
    model = models.make(spec).eval()
    for parameter in model.parameters():  # as large as after training, so that no part of the MLP is idle
        parameter.data *= 2
    image, cell = torch.rand(batch, 3, *input_size) * 2 - 1, cell_of(size).expand(batch, 2)
    grid, coord = Grid.of_size(size), torch.rand(batch, 37, 2) * 2.2 - 1.1
    with torch.inference_mode():
        latent, first = model.encode(image), model.encode(image[:1])
        field = model.field(latent, cell)
        measured = model.intensity(field)
        levels = [Level(1, float(measured.quantile(0.3)) + 1e-4), Level(50, 1)]

        def results(backend: str) -> list[torch.Tensor]:
            controlled = render_controlled(Upscaler(model, backend=backend), first, size, levels).picture
            with backends.using(backend):
                return [painted(model, field, grid), model.sample(field, coord), controlled]

        portable = results("torch")
        double = copy.deepcopy(model).double()
        exact = double.sample(double.field(double.encode(image.double()), cell.double()), coord.double())
        rounding = float((portable[1] - exact).abs().max())  # large where cells are: their phases are many turns
        largest = max(float(values.abs().max()) for values in portable)  # CMSR's were as large before they were clipped
        tolerance = 1e-5 * max(1.0, largest) + 4 * rounding
        for computed, expected in zip(results("native"), portable, strict=True):
            assert_close(computed, expected, tolerance)


@pytest.fixture
def model() -> models.ContinuousModel:
    torch.manual_seed(0)
    return models.make(SMALL_LMLIIF).eval()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_any_strides(model, memory_format) -> None:
    """Fields made by convolutions in either memory format, sliced, and of transposed pictures."""
    model = model.to(memory_format=memory_format)
    image = torch.rand(2, 3, 9, 7).to(memory_format=memory_format)
    cell = cell_of((30, 20)).expand(2, 2)
    with torch.inference_mode():
        for picture in (image, image.transpose(2, 3), image[:, :, 2:-1, 1:]):
            field = model.field(model.encode(picture), cell)
            with backends.using("native"):
                computed = painted(model, field, Grid.of_size((30, 20)))
            with backends.using("torch"):
                assert_close(computed, painted(model, field, Grid.of_size((30, 20))), 1e-5)


GRIDS = {
    "x4": Grid.of_size((92, 44)),
    "x2.7": Grid.of_size((62, 14)),
    "smaller": Grid.of_size((9, 7)),
    "wide": Grid.of_size((69, 220)),
    "window": Grid.of_size((92, 44)).window(30, 7, (25, 20)),
    "warp": Homography.rotation(100, (23, 11), (61, 50), (2, 3)).grid((23, 11), (61, 50)),
}


@pytest.mark.parametrize(("backend", "name", "lr_skip"), paired(["native", "torch"], [*GRIDS], [False, True]))
def test_a_field_of_some_pixels_at_a_time_changes_nothing(monkeypatch, model, backend, name, lr_skip) -> None:
    model.lr_skip, grid = lr_skip, GRIDS[name]
    with torch.inference_mode(), backends.using(backend):
        latent = model.encode(torch.rand(2, 3, 23, 11))
        whole = model.render(latent, grid, outside=7.0)
        for rows in (1, 5):
            monkeypatch.setattr(lmf, "FIELD_BYTES", rows * 4 * model.imnet.mod_dim * 2 * 11)
            assert_close(model.render(latent, grid, outside=7.0), whole, 1e-5)
        for side in (1, 4):
            monkeypatch.setattr(lmf, "BLOCK", side)
            assert_close(model.render(latent, grid, outside=7.0), whole, 1e-5)
    inside = whole != 7
    assert inside.float().mean() > 0.2
    assert inside.all() == isinstance(grid, Grid)
    assert whole[inside].std() > 0.01


@torch.inference_mode()
def test_a_window_has_the_pixels_of_the_whole_and_costs_what_is_around_it(monkeypatch, model) -> None:
    monkeypatch.setattr(lmf, "BLOCK", 16)
    latent, grid, prepared = model.encode(torch.rand(1, 3, 37, 51)), Grid.of_size((150, 100)), []
    with backends.using("native"):
        whole = model.render(latent, grid)
        field_of_part = model.field_of_part
        monkeypatch.setattr(
            model,
            "field_of_part",
            lambda *given: prepared.append((given[2].rows, given[2].columns)) or field_of_part(*given),
        )
        for top, left, (height, width) in ((0, 0, (20, 20)), (66, 40, (5, 30)), (130, 95, (20, 5))):
            window = model.render(latent, grid.window(top, left, (height, width)))
            assert torch.equal(window, whole[:, :, top : top + height, left : left + width])
    # Blocks and the pixels beside them; the second window is in two of them
    assert prepared == [
        (slice(0, 14), slice(0, 14)),
        (slice(12, 27), slice(12, 27)),
        (slice(12, 27), slice(25, 40)),
        (slice(25, 37), slice(38, 51)),
    ]


@torch.inference_mode()
def test_threads_change_nothing(model) -> None:
    upscaler, before, pictures = Upscaler(model, backend="native"), torch.get_num_threads(), []
    latent, grid = upscaler.encode(torch.rand(3, 20, 30)), Grid.of_size((77, 200))
    field = model.field(latent, model.cell(latent, grid))
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            with upscaler.computing():
                pictures.append(painted(model, field, grid))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*pictures)


def test_gradients_go_through_pytorch(model) -> None:
    coord, cell = torch.rand(1, 9, 2), torch.full((1, 2), 0.1)
    model(torch.rand(1, 3, 6, 6), coord, cell).sum().backward()
    assert all(parameter.grad is not None for parameter in model.imnet.parameters())
    with backends.using("native"), pytest.raises(InputError, match="gradients"):
        model(torch.rand(1, 3, 6, 6), coord, cell)


def stage(**changes) -> RenderStage:
    """A render MLP of two layers of 16 on a picture of 3x4 pixels."""
    parameters = [torch.rand(shape) for shape in ((16, 2), (16, 16), (16,), (3, 16), (3,))]
    whole = {"hidden": 16, "depth": 2, "waves": 0, "has_scale": True, "has_shift": True, "parameters": parameters}
    whole |= {"table": torch.rand(1, 3, 4, 16), "modulation": torch.rand(1, 3, 4, 64), "skip": None}
    return RenderStage(library=backends.library("lmf"), **(whole | changes))


def test_wrong_arrays_are_refused() -> None:
    for words, changes in (
        (r"table has shape \(1, 3, 4, 15\); expected \(1, 3, 4, 16\)", {"table": torch.rand(1, 3, 4, 15)}),
        ("modulation has shape", {"modulation": torch.rand(1, 4, 3, 64)}),
        ("skip picture has shape", {"skip": torch.rand(1, 4, 3, 4)}),
        ("table has shape", {"waves": 4}),
        ("46341 is beyond 32768; use backend torch", {"hidden": 46341}),
    ):
        with pytest.raises(ValueError, match=words):
            stage(**changes)
    coord = torch.zeros(1, 5, 2)
    lookup = look_up(coord[..., 0], 3, True)
    with pytest.raises(ValueError, match="float64"):
        stage(table=torch.rand(1, 3, 4, 16).double()).sample(lookup, lookup, coord)
    with pytest.raises(ValueError, match="number of parameters"):
        stage(parameters=[torch.rand(3)]).sample(lookup, lookup, coord)
    for wrong in (-1, 3, -(2**63)):  # what NaN becomes as an index, among others
        outside = AxisLookup(torch.full_like(lookup.index, wrong), lookup.offset)
        with pytest.raises(ValueError, match="outside the picture"):
            stage().sample(outside, lookup, coord)
    with pytest.raises(ValueError, match="output has shape"):
        stage().render(None, None, (torch.zeros(4), torch.zeros(5)), torch.zeros(1, 3, 5, 4))


@pytest.mark.parametrize("backend", ["native", "triton"])
@torch.inference_mode()
def test_nan_is_passed_on(monkeypatch, model, backend) -> None:
    """Through ReLU, too: where PyTorch computes NaN, the routines do, and nowhere else."""
    if backend == "triton":
        pytest.importorskip("triton")
        monkeypatch.setattr(fused, "PAINTED_TILE", (16, 32))  # few programs for Triton's interpreter
        monkeypatch.setattr(fused, "SAMPLED_TILE", (1, 512))
    latent, size, coord = model.encode(torch.rand(1, 3, 9, 7)), (30, 20), torch.rand(1, 200, 2) * 2 - 1
    for where in ("table", "modulation"):
        field = model.field(latent, cell_of(size)[None])
        broken = getattr(field, where).clone()
        broken[0, 4, 3, 0] = torch.nan
        field, results = replace(field, **{where: broken}), []
        for each in (backend, "torch"):
            with backends.using(each):
                results.append([painted(model, field, Grid.of_size(size)), model.sample(field, coord)])
        for computed, expected in zip(*results, strict=True):
            assert torch.equal(computed.isnan(), expected.isnan())
            assert 0 < computed.isnan().float().mean() < 0.2
