"""Rendering with every registered decoder and filter: grids, warps, windows, chunks, backends, self-ensembles."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from models import computing
from models.decoders import lmf
from models.decoders.lmf import even_step
from models.native import backends
from models.upscaler import Ensemble, Upscaler
from tests.commands import call
from tests.conftest import SMALL_LIIF, SMALL_LMLIIF
from tests.golden_cases import assert_close, painted
from tests.registered import DECODERS, FILTERS, small_spec
from tools.bench import __main__ as bench
from utils.errors import InputError
from utils.geometry.grids import Grid, Size, cell_of
from utils.geometry.homographies import Homography
from utils.geometry.symmetries import SYMMETRIES

INPUT, OUTPUT = (11, 9), (29, 31)
TURN = Homography.rotation(20, INPUT, OUTPUT, (2.5, 3))


def upscaler_of(name: str) -> Upscaler:
    torch.manual_seed(0)
    return Upscaler(models.make(small_spec(name)).eval())


@pytest.fixture(params=DECODERS + FILTERS)
def upscaler(request) -> Upscaler:
    return upscaler_of(request.param)


def values_at(upscaler: Upscaler, pictures: torch.Tensor, coord: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    """Values in [0, 1] as training computes them at positions (Q, 2): (B, 3, Q)."""
    batch = len(pictures)
    with torch.inference_mode():
        image = upscaler.normalization.inp.apply(pictures)
        values = upscaler.model(image, coord.expand(batch, -1, -1), cell.expand(batch, *cell.shape[1:]))
        return upscaler.normalization.gt.invert_(values.transpose(1, 2).contiguous()[..., None]).clamp_(0, 1)[..., 0]


def sampled(upscaler: Upscaler, pictures: torch.Tensor, size: Size) -> torch.Tensor:
    coord = Grid.of_size(size).coord().flatten(0, 1)
    return values_at(upscaler, pictures, coord, cell_of(size)[None]).unflatten(2, size)


def test_a_grid_is_rendered_as_its_positions_are_sampled(upscaler) -> None:
    pictures = torch.rand(2, 3, *INPUT)
    latent = upscaler.encode(pictures)
    rendered = upscaler.render(latent, OUTPUT)
    assert rendered.std() > 0.01
    assert_close(rendered, sampled(upscaler, pictures, OUTPUT), 1e-4)
    assert_close(upscaler.render(latent, OUTPUT, queries=100), rendered, 1e-4)


@settings(max_examples=15, deadline=None)
@given(
    spec=st.sampled_from([SMALL_LMLIIF, SMALL_LIIF]),
    ensemble=st.booleans(),
    input_size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    scale=st.tuples(st.floats(1, 4), st.floats(1, 4)),
)
def test_grids_of_every_size(spec, ensemble, input_size, scale) -> None:
    torch.manual_seed(1)
    model = models.make({"name": spec["name"], "args": {**spec["args"], "local_ensemble": ensemble}}).eval()
    upscaler, pictures = Upscaler(model, safeguards=False), torch.rand(2, 3, *input_size)
    size = tuple(int(n * s) for n, s in zip(input_size, scale, strict=True))
    if size != input_size:  # which is the input itself
        assert_close(upscaler(pictures, size), sampled(upscaler, pictures, size), 1e-5)


def test_a_warp_is_rendered_as_its_positions_are_sampled(upscaler) -> None:
    pictures, grid = torch.rand(2, 3, *INPUT), TURN.grid(INPUT, OUTPUT)
    warped = upscaler(pictures, grid)
    coord, inside = grid.positions(range(OUTPUT[0]))
    assert 0.2 < inside.float().mean() < 0.95
    expected = values_at(upscaler, pictures, coord[:, inside].T.float(), TURN.cell(INPUT, 4)[None])
    assert_close(warped[:, :, inside], expected, 1e-4)
    assert not warped[:, :, ~inside].any()


def test_chunks_and_windows_are_parts_of_the_whole(upscaler, monkeypatch) -> None:
    latent = upscaler.encode(torch.rand(1, 3, *INPUT))
    grids = Grid.of_size(OUTPUT), TURN.grid(INPUT, OUTPUT)
    whole = [upscaler.render(latent, grid) for grid in grids]
    for top, left, (height, width) in ((5, 7, (11, 13)), (28, 30, (1, 1))):
        window = upscaler.render(latent, grids[0].window(top, left, (height, width)))
        assert_close(window, whole[0][:, :, top : top + height, left : left + width], 1e-6)
    monkeypatch.setattr(computing, "CHUNK_BYTES", 20_000)
    monkeypatch.setattr(lmf, "FIELD_BYTES", 1)
    for grid, expected in zip(grids, whole, strict=True):
        assert_close(upscaler.render(latent, grid), expected, 1e-5)


def test_one_latent_serves_many_sizes(small_model) -> None:
    upscaler, picture = Upscaler(small_model), torch.rand(3, 12, 10)
    latent = upscaler.encode(picture)
    for size in [(24, 20), (13, 31), (5, 4), (24, 20)]:
        assert torch.equal(upscaler.render(latent, size), upscaler(picture, size))


def test_cell_is_clipped_at_the_trained_scale() -> None:
    """At x8 the model is asked with the cell of x4."""
    model, picture = models.make(SMALL_LIIF).eval(), torch.rand(1, 3, 10, 10)
    with torch.inference_mode():
        field = model.field(model.encode(picture * 2 - 1), cell_of((40, 40))[None])
        expected = (painted(model, field, Grid.of_size((80, 80))) * 0.5 + 0.5).clamp(0, 1)
    assert_close(Upscaler(model)(picture, (80, 80)), expected, 1e-6)


def test_blocks_are_of_about_one_size() -> None:
    for n in range(1, 1000):
        step = even_step(n, 95)
        assert step <= 95
        assert (n - 1) % step + 1 >= min(n, step / 2 - 1)
    assert even_step(180, 96) == 90


@pytest.mark.parametrize("size", [(0, 5), (-1, 3)])
def test_sizes_that_no_picture_has(size) -> None:
    with pytest.raises(InputError, match="not possible"):
        Upscaler(models.make({"name": "bicubic"}))(torch.rand(3, 4, 4), size)


@pytest.fixture
def used(monkeypatch) -> list[str]:
    """The backend of every call that chooses routines; there are none to choose."""
    found: list[str] = []
    monkeypatch.setattr(backends, "choose", lambda *_: found.append(backends._backend.get()))
    return found


def test_upscalers_of_one_model_and_models_within_keep_their_backends(used) -> None:
    inner = {"name": "lmliif", "args": SMALL_LMLIIF["args"]}
    model = models.make({"name": "lerf-net-plus", "args": {"upsampler_spec": inner, "nf": 8}}).eval()
    first, second = Upscaler(model, backend="torch"), Upscaler(model)
    assert not used
    for upscaler, backend in ((first, "torch"), (second, "auto"), (first, "torch")):
        upscaler(torch.rand(3, 5, 6), (9, 9))
        assert len(used) > 1
        assert set(used) == {backend}
        used.clear()
    assert backends._backend.get() == "auto"


@pytest.mark.parametrize("grid", [Grid.of_size(OUTPUT).window(3, 20, (7, 9)), TURN.grid(INPUT, OUTPUT)])
def test_a_self_ensemble_of_a_symmetric_model_gives_what_it_gives_alone(grid) -> None:
    """A filter does not care how a picture lies: a wrong flip, turn or position shows."""
    upscaler, picture = upscaler_of("catmull-rom"), torch.rand(3, *INPUT)
    assert_close(Ensemble.of(upscaler)(picture, grid), upscaler(picture, grid), 1e-4)


@pytest.mark.parametrize("grid", [OUTPUT, TURN.grid(INPUT, OUTPUT)])
def test_a_self_ensemble_is_the_mean_over_the_orientations(grid) -> None:
    upscaler, picture, parts = upscaler_of("lmliif"), torch.rand(3, *INPUT), []
    for symmetry in SYMMETRIES:
        if isinstance(grid, tuple):
            output = upscaler(symmetry.of_picture(picture), grid[::-1] if symmetry.transposes else grid)
            parts.append(symmetry.undone(output, Grid.of_size(grid)))
        else:
            parts.append(upscaler(symmetry.of_picture(picture), symmetry.of_grid(grid)))
    assert_close(Ensemble.of(upscaler)(picture, grid), torch.stack(parts).mean(0), 1e-5)
    assert all((one - other).abs().max() > 1e-3 for i, one in enumerate(parts) for other in parts[:i])


@pytest.mark.parametrize("name", DECODERS)
def test_ten_steps_lower_the_loss(name) -> None:
    torch.manual_seed(0)
    model = models.make(small_spec(name))
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4), 10, mode="bicubic") * 2 - 1
    coord, cell = torch.rand(1, 100, 2) * 2 - 1, cell_of((24, 24))[None]
    target = 0.5 * models.make({"name": "bicubic"})(image, coord, cell) + 0.1
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    losses = []
    for _ in range(10):
        loss = (model(image, coord, cell) - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3])
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_the_cost_table_names_every_decoder(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    counted = ["configs/train-*/train_edsr-baseline-[clm]*.yaml", "configs/train-lmf/*subpixel*.yaml"]
    monkeypatch.setattr("tools.bench.costs.COUNTED", counted)
    call(bench, "cost", "--input", "24x16", "--json", tmp_path / "cost.json")
    rows = json.loads((tmp_path / "cost.json").read_text())["models"]
    for name in DECODERS:
        assert any(row["model"] == name and row["decoder_macs"]["2"] > 0 for row in rows.values())
