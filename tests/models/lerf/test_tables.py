"""Look-up tables: interpolation against a literal reference, equality with the networks they are made from."""

from itertools import product

import numpy as np
import pytest
import torch

import models
from models.computing import CHUNK_BYTES
from models.lerf import PATTERNS
from models.lerf.stages import neighbourhood
from models.lerf.tables import ENTRIES, interpolate, sampled_levels, tabulated
from models.upscaler import Upscaler


def simplex_reference(table: np.ndarray, pixels: list[int]) -> np.ndarray:
    """Interpolation among the 16 corners of the cell: corner c counts as much as min of the fractions of its axes less
    max of the others', the closed form of the simplex walk; in sixteenths."""
    high, low = [p // 16 for p in pixels], [p % 16 for p in pixels]
    total = np.zeros(table.shape[1], dtype=np.int64)
    for corner in product((0, 1), repeat=4):
        upper = min([f for f, c in zip(low, corner, strict=True) if c], default=16)
        lower = max([f for f, c in zip(low, corner, strict=True) if not c], default=0)
        if upper > lower:
            index = 0
            for h, c in zip(high, corner, strict=True):
                index = index * 17 + h + c
            total += (upper - lower) * table[index].astype(np.int64)
    return total


@pytest.mark.parametrize("values", [1, 3])
@pytest.mark.parametrize(("pattern", "rotation"), [("s", 0), ("s", 3), ("c", 1), ("t", 2)])
def test_look_up_equals_the_literal_reference(values, pattern, rotation) -> None:
    generator = np.random.default_rng(values)
    table = generator.integers(-127, 128, (ENTRIES, values), dtype=np.int8)
    picture = generator.integers(0, 256, (1, 9, 7))
    picture[0, :2] = generator.choice([0, 16, 240, 255], (2, 7))
    pixels = neighbourhood(torch.from_numpy(picture).float(), pattern, rotation)
    ours = interpolate(torch.from_numpy(table).float(), pixels) * 16
    turned = np.rot90(picture[0], rotation)
    height, width = turned.shape
    padded = np.pad(turned, ((0, 3), (0, 3)), mode="edge")
    expected = np.zeros((height, width, values), dtype=np.int64)
    for y, x in product(range(height), range(width)):
        expected[y, x] = simplex_reference(table, [int(padded[y + dy, x + dx]) for dy, dx in PATTERNS[pattern]])
    expected = np.rot90(expected, -rotation).reshape(-1, values).T
    assert np.array_equal(ours.numpy(), expected)


@pytest.mark.parametrize("offsets", [((0, 0), (0, 3), (3, 0), (2, 2)), ((0, 0), (0, 5), (3, 0), (3, 5))])
def test_patterns_of_ones_own_are_looked_up_alike_by_every_backend(monkeypatch, offsets) -> None:
    """Native routines read a pattern from its last pixel, too, which only symmetric ones allow."""
    monkeypatch.setitem(PATTERNS, "q", offsets)
    model = models.make({"name": "lerf-lut", "args": {"modes": "sq"}}).eval()
    torch.manual_seed(0)
    for table in model.parameters():
        table.data.random_(-60, 60)
    auto, portable = (Upscaler(model, backend=backend) for backend in ("auto", "torch"))
    picture = torch.rand(1, 3, 20, 24)
    assert (auto(picture, (50, 60)) - portable(picture, (50, 60))).abs().max() < 1e-5


def test_look_up_in_parts_equals_that_of_all_points(monkeypatch) -> None:
    monkeypatch.setattr("models.lerf.tables.COLUMN_BYTES", CHUNK_BYTES // 100)  # 100 points at a time
    model = models.make({"name": "lerf-lut"})
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (4, 1001)).float()
    for unit, *_ in model.units():
        lut = getattr(model, unit).data.random_(-127, 128)
        assert torch.equal(model.respond(unit, pixels), interpolate(lut, pixels))


@pytest.mark.parametrize("name", ["lerf-l", "lerf-g"])
def test_tables_equal_their_network_on_the_sampled_levels(name) -> None:
    torch.manual_seed(0)
    network = models.make({"name": name, "args": {"nf": 4}}).eval()
    tables = tabulated(network)
    levels = sampled_levels().float()
    pixels = levels[torch.randint(0, 17, (4, 2000))]
    for unit, *_ in tables.units():
        with torch.no_grad():
            # The highest sample, 255, sits where 256 would, so it is read between 240 and that place.
            exact = (pixels < 255).all(0)
            assert torch.equal(tables.respond(unit, pixels)[:, exact], network.respond(unit, pixels)[:, exact])
    assert exact.float().mean() > 0.5


def test_tables_are_rounded_in_training_and_gradients_reach_them() -> None:
    model = models.make({"name": "lerf-lut", "args": {"kernel": "linear"}})
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -30, 30)
    image, coord, cell = torch.rand(2, 1, 9, 9), torch.rand(2, 50, 2) * 2 - 1, torch.full((2, 2), 0.1)
    values = model(image, coord, cell)
    values.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    rounded = models.make({"name": "lerf-lut", "args": {"kernel": "linear"}})
    rounded.load_state_dict(dict(model.tables()))
    assert torch.equal(values, rounded(image, coord, cell))


def test_table_sizes_are_those_of_the_paper() -> None:
    for kernel, mebibytes in {"linear": 0.717, "gauss": 1.673}.items():
        tables = dict(models.make({"name": "lerf-lut", "args": {"kernel": kernel}}).tables())
        assert sum(table.numel() for table in tables.values()) / 2**20 == pytest.approx(mebibytes, abs=5e-4)
