"""What holds for every registered decoder and filter, a new one included."""

import json
from pathlib import Path

import pytest
import torch

import models
from models import computing
from models.decoders import lmf
from models.upscaler import Upscaler
from tests.commands import call
from tests.golden_cases import assert_close
from tests.registered import DECODERS, FILTERS, small_spec
from tools.bench import __main__ as bench
from utils.geometry.grids import Grid, Size, cell_of
from utils.geometry.homographies import Homography

INPUT, OUTPUT = (11, 9), (29, 31)


@pytest.fixture(params=DECODERS + FILTERS)
def upscaler(request) -> Upscaler:
    torch.manual_seed(0)
    return Upscaler(models.make(small_spec(request.param)).eval())


def values_at(upscaler: Upscaler, pictures: torch.Tensor, coord: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    """What training computes at positions (Q, 2), as pictures' values in [0, 1]: (B, 3, Q)."""
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
    rendered = upscaler(pictures, OUTPUT)
    assert rendered.std() > 0.01
    assert_close(rendered, sampled(upscaler, pictures, OUTPUT), 1e-4)


def test_a_warp_is_rendered_as_its_positions_are_sampled(upscaler) -> None:
    pictures, homography = torch.rand(2, 3, *INPUT), Homography.rotation(20, INPUT, OUTPUT, (2.5, 3))
    grid = homography.grid(INPUT, OUTPUT)
    warped = upscaler(pictures, grid)
    coord, inside = grid.positions(range(OUTPUT[0]))
    assert 0.2 < inside.float().mean() < 0.95
    expected = values_at(upscaler, pictures, coord[:, inside].T.float(), homography.cell(INPUT, 4)[None])
    assert_close(warped[:, :, inside], expected, 1e-4)
    assert not warped[:, :, ~inside].any()


def test_row_chunks_change_nothing(upscaler, monkeypatch) -> None:
    pictures, homography = torch.rand(1, 3, *INPUT), Homography.rotation(20, INPUT, OUTPUT, (2.5, 3))
    latent = upscaler.encode(pictures)
    grids = OUTPUT, homography.grid(INPUT, OUTPUT)
    whole = [upscaler.render(latent, grid) for grid in grids]
    monkeypatch.setattr(computing, "CHUNK_BYTES", 20_000)
    monkeypatch.setattr(lmf, "FIELD_BYTES", 1)
    for grid, expected in zip(grids, whole, strict=True):
        assert_close(upscaler.render(latent, grid), expected, 1e-5)


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
    monkeypatch.setattr(
        "tools.bench.costs.COUNTED",
        ["configs/train-*/train_edsr-baseline-[clm]*.yaml", "configs/train-lmf/*subpixel*.yaml"],
    )
    call(bench, "cost", "--input", "24x16", "--json", tmp_path / "cost.json")
    rows = json.loads((tmp_path / "cost.json").read_text())["models"]
    for name in DECODERS:
        assert any(row["model"] == name and row["decoder_macs"]["2"] > 0 for row in rows.values())
