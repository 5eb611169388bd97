"""Rendering: row chunks change nothing, every size works, one latent serves many sizes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from models import computing
from models.local_ensemble import even_step
from models.upscaler import Upscaler
from tests.conftest import SMALL_LIIF, SMALL_LMLIIF
from tests.golden_cases import assert_close, painted
from utils.geometry.grids import Grid, cell_of
from utils.geometry.sizes import output_size


def render(model: models.ContinuousModel, image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    with torch.inference_mode():
        field = model.field(model.encode(image), cell_of(size).expand(len(image), 2))
        return painted(model, field, Grid.of_size(size))


def sample(model: models.ContinuousModel, image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    with torch.inference_mode():
        coord = Grid.of_size(size).coord().flatten(0, 1).expand(len(image), -1, -1)
        values = model(image, coord, cell_of(size).expand(len(image), 2))
        return values.transpose(1, 2).unflatten(2, size)


@pytest.mark.parametrize("scale", [(3.7, 1.9), (0.5, 0.7)])
def test_chunks_equal_whole(small_model, monkeypatch, scale) -> None:
    image = torch.rand(2, 3, 9, 11) * 2 - 1
    size = output_size((9, 11), scale)
    monkeypatch.setattr(computing, "CHUNK_BYTES", 1 << 40)
    whole = render(small_model, image, size)
    for band_bytes in (1, 20_000):
        monkeypatch.setattr(computing, "CHUNK_BYTES", band_bytes)
        assert_close(render(small_model, image, size), whole, 1e-5)


@settings(max_examples=15, deadline=None)
@given(
    spec=st.sampled_from([SMALL_LMLIIF, SMALL_LIIF]),
    ensemble=st.booleans(),
    input_size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 25), st.integers(1, 25)),
)
def test_render_equals_sample(spec, ensemble, input_size, size) -> None:
    """The fast path for grids and the path for single positions are two ways to one picture."""
    torch.manual_seed(1)
    model = models.make({"name": spec["name"], "args": {**spec["args"], "local_ensemble": ensemble}}).eval()
    image = torch.rand(2, 3, *input_size)
    assert_close(render(model, image, size), sample(model, image, size), 1e-5)


def test_one_latent_serves_many_sizes(small_model) -> None:
    upscaler = Upscaler(small_model)
    picture = torch.rand(3, 12, 10)
    latent = upscaler.encode(picture)
    first = upscaler.render(latent, (24, 20))
    for size in [(13, 31), (5, 4), (24, 20)]:
        assert torch.equal(upscaler.render(latent, size), upscaler(picture, size))
    assert torch.equal(first, upscaler.render(latent, (24, 20)))


def test_position_by_position_gives_the_same_picture(small_model) -> None:
    upscaler = Upscaler(small_model)
    latent = upscaler.encode(torch.rand(3, 11, 9))
    assert_close(upscaler.render(latent, (30, 25), queries=100), upscaler.render(latent, (30, 25)), 1e-5)


def test_cell_is_clipped_at_the_trained_scale() -> None:
    """At x8 the model is asked with the cell of x4."""
    model = models.make(SMALL_LIIF).eval()
    picture = torch.rand(1, 3, 10, 10)
    clipped = Upscaler(model).render(Upscaler(model).encode(picture), (80, 80))
    with torch.inference_mode():
        field = model.field(model.encode(picture * 2 - 1), cell_of((40, 40))[None])
        expected = (painted(model, field, Grid.of_size((80, 80))) * 0.5 + 0.5).clamp(0, 1)
    assert_close(clipped, expected, 1e-6)


def test_blocks_are_of_about_one_size() -> None:
    for n in range(1, 1000):
        step = even_step(n, 95)
        assert step <= 95
        assert (n - 1) % step + 1 >= min(n, step / 2 - 1)
    assert even_step(180, 96) == 90
