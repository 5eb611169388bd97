"""What is computed in bfloat16, and when `auto` chooses it."""

import pytest
import torch
from torch import nn

import models
from models import Upscaler, precision
from models.continuous import ContinuousModel, Field
from tests.registered import DECODERS, small_spec
from utils.errors import InputError
from utils.geometry.grids import sample_bilinear

PICTURE = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(0))


class Shifting(ContinuousModel):
    """The bilinear picture, by features in whose last digits it hides."""

    def __init__(self, shift: float):
        super().__init__()
        self.encoder = nn.Conv2d(3, 3, 1)
        self.encoder.weight.data.copy_(torch.eye(3)[:, :, None, None])
        self.encoder.bias.data.fill_(shift)
        self.shift = shift

    def field(self, latent, cell):
        return Field(latent.features.permute(0, 2, 3, 1) - self.shift)

    def sample(self, field, coord):
        return sample_bilinear(field.table.permute(0, 3, 1, 2), coord)


@pytest.fixture(autouse=True)
def _native_processor(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(precision, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)


@pytest.mark.parametrize("name", DECODERS)
def test_encoders_compute_in_bfloat16_and_rendering_does_not(name) -> None:
    torch.manual_seed(0)
    exact = Upscaler(models.make(small_spec(name)).eval())
    rounded = Upscaler(exact.model, precision="bfloat16")
    features, expected = rounded.encode(PICTURE).features, exact.encode(PICTURE).features
    assert features.dtype == torch.float32
    error = (features - expected).norm() / expected.norm()
    assert 1e-4 < error < 2e-2
    assert torch.equal(exact.encode(PICTURE).features, expected)
    latent = exact.encode(PICTURE)
    if name not in ("lmliif", "lmciaosr"):  # whose latent MLPs are large
        assert torch.equal(rounded.render(latent, (20, 20)), exact.render(latent, (20, 20)))
    else:
        difference = (rounded.render(latent, (20, 20)) - exact.render(latent, (20, 20))).abs().max()
        assert 0 < difference < 0.02


def test_auto_never_takes_what_loses_quality() -> None:
    assert Upscaler(Shifting(0).eval(), precision="auto").precision == "bfloat16"
    model = Shifting(50).eval()
    assert min(precision.losses(Upscaler(model)).values()) > 0.1
    assert Upscaler(model, precision="auto").precision == "float32"


def test_a_network_that_gives_no_numbers_loses() -> None:
    model = Shifting(0).eval()
    model.encoder.bias.data.fill_(float("nan"))
    assert Upscaler(model, precision="auto").precision == "float32"


def test_auto_needs_a_processor_and_probes(monkeypatch, tmp_path) -> None:
    model = Shifting(0).eval()
    with monkeypatch.context() as changed:
        changed.setattr(precision, "multiplies_bfloat16", lambda device: False)
        assert Upscaler(model, precision="auto").precision == "float32"
    monkeypatch.setattr(precision, "PROBES", (tmp_path / "missing.png",))
    assert Upscaler(model, precision="auto").precision == "float32"


def test_losses_are_measured_once_for_each_model(monkeypatch, tmp_path) -> None:
    measured = []
    monkeypatch.setattr(precision, "losses", lambda upscaler: measured.append(upscaler) or {"2": 0.0})
    for shift in (0, 0, 1):
        Upscaler(Shifting(shift).eval(), precision="auto")
    assert len(measured) == 2
    for path in tmp_path.glob("precision-*.json"):
        path.write_text("[1")
    assert Upscaler(Shifting(0).eval(), precision="auto").precision == "bfloat16"
    assert len(measured) == 3


def test_models_without_encoder() -> None:
    bicubic = models.make({"name": "bicubic"})
    assert Upscaler(bicubic, precision="auto").precision == "float32"
    with pytest.raises(InputError, match="no encoder"):
        Upscaler(bicubic, precision="bfloat16")
    with pytest.raises(InputError, match="known are: auto, float32, bfloat16"):
        Upscaler(bicubic, precision="half")
