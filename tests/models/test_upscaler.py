"""The face of the models: nothing is left on what is handed in, windows are parts of the whole."""

import pytest
import torch

import models
from models.native import backends
from models.upscaler import Upscaler
from tests.conftest import SMALL_LMLIIF
from tests.registered import DECODERS, FILTERS, small_spec
from utils.errors import InputError
from utils.geometry.grids import Grid


class Recorder:
    """Stands for `backends.choose`: notes the backend of every call and gives no library."""

    def __init__(self) -> None:
        self.backends: list[str] = []

    def __call__(self, name: str, *tensors: torch.Tensor | None) -> None:
        self.backends.append(backends._backend.get())


@pytest.fixture
def recorder(monkeypatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(backends, "choose", recorder)
    return recorder


def test_two_upscalers_of_one_model_keep_their_backends(recorder) -> None:
    model = models.make(SMALL_LMLIIF).eval()
    first, second = Upscaler(model, backend="torch"), Upscaler(model)
    assert not recorder.backends
    for upscaler, backend in ((first, "torch"), (second, "auto"), (first, "torch")):
        upscaler(torch.rand(3, 5, 6), (9, 9))
        assert set(recorder.backends) == {backend}
        recorder.backends.clear()
    assert backends._backend.get() == "auto"


def test_a_model_inside_a_model_uses_the_same_backend(recorder) -> None:
    inner = {"name": "lmliif", "args": SMALL_LMLIIF["args"]}
    plus = models.make({"name": "lerf-net-plus", "args": {"upsampler_spec": inner, "nf": 8}}).eval()
    upscaler = Upscaler(plus, backend="torch")
    upscaler(torch.rand(3, 5, 6), (9, 9))
    assert len(recorder.backends) > 1
    assert set(recorder.backends) == {"torch"}


@pytest.mark.parametrize("name", DECODERS + FILTERS)
def test_a_window_is_a_part_of_the_whole(name) -> None:
    torch.manual_seed(0)
    upscaler, picture = Upscaler(models.make(small_spec(name)).eval()), torch.rand(3, 12, 14)
    latent, grid = upscaler.encode(picture), Grid.of_size((37, 41))
    whole = upscaler.render(latent, grid)
    for top, left, size in ((0, 0, (37, 41)), (5, 7, (11, 13)), (36, 40, (1, 1))):
        window = upscaler.render(latent, grid.window(top, left, size))
        assert torch.allclose(window, whole[:, :, top : top + size[0], left : left + size[1]], atol=1e-6)


@pytest.mark.parametrize("size", [(0, 5), (-1, 3)])
def test_sizes_that_no_picture_has(size) -> None:
    with pytest.raises(InputError, match="not possible"):
        Upscaler(models.make({"name": "bicubic"}))(torch.rand(3, 4, 4), size)
