"""What is computed in bfloat16, and when `auto` chooses it."""

import pytest
import torch

import models
from models import Upscaler, computing
from models.checkpoints.loading import load_content, load_upscaler, save_checkpoint
from models.checkpoints.safetensors_files import save_safetensors
from models.zoo import resolve
from tests.registered import small_spec
from utils.errors import InputError

PICTURE = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["liif", "lmliif", "lmciaosr"])
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


def test_auto_is_what_was_released_where_the_processor_multiplies_it(monkeypatch) -> None:
    device = torch.device("cpu")
    for native, released, chosen in (
        (True, "bfloat16", "bfloat16"), (True, "float32", "float32"), (False, "bfloat16", "float32")
    ):  # fmt: skip
        monkeypatch.setattr(computing, "multiplies_bfloat16", lambda device, native=native: native)
        assert computing.choose("auto", True, device, released) == chosen
        assert computing.choose("auto", False, device, released) == "float32"
        assert computing.choose("bfloat16", True, device) == "bfloat16"  # who asks for it gets it


def test_weights_say_what_they_were_released_for(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(computing, "multiplies_bfloat16", lambda device: True)
    content = load_content("s")
    for released, chosen in (("bfloat16", "bfloat16"), ("float32", "float32"), (None, "float32"), ("x", "float32")):
        save_safetensors(tmp_path / "m.safetensors", {**content, "precision": released})
        assert load_upscaler(tmp_path / "m.safetensors", precision="auto").precision == chosen
    save_checkpoint(tmp_path / "n.pth", content)
    assert load_upscaler(tmp_path / "n.pth", precision="auto").precision == "float32"


def test_shipped_models_were_measured() -> None:
    networks = ("s", "subpixel-s", "subpixel-m", "drawings-s", "photo-s")
    assert {resolve(name).precision for name in networks} == {"bfloat16"}
    assert resolve("lerf-g").precision == "float32"


def test_what_is_not_possible() -> None:
    with pytest.raises(InputError, match="no encoder"):
        load_upscaler("bicubic", precision="bfloat16")
    with pytest.raises(InputError, match="known are: auto, float32, bfloat16"):
        load_upscaler("bicubic", precision="half")
