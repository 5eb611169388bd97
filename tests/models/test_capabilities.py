"""What every model says of itself is true."""

import copy
from typing import Any

import pytest
import torch

import models
from models.continuous import Tiling
from models.layers.cross_scale_attention import CrossScaleAttention
from models.upscaler import Upscaler
from tests.registered import DECODERS, FILTERS, small_spec

SWINIR = {"name": "swinir", "args": {"embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 4, "out_dim": 8}}
EDSR_X3 = {"name": "edsr-baseline", "args": {"n_resblocks": 1, "n_feats": 8, "scale": 3}}
LMLIIF = small_spec("lmliif")
SPECS: dict[str, dict[str, Any]] = {
    **{name: small_spec(name) for name in DECODERS + FILTERS},
    "lmliif on swinir": {**LMLIIF, "args": {**LMLIIF["args"], "encoder_spec": SWINIR}},
    "edsr x3": {"name": "liif", "args": {"encoder_spec": EDSR_X3}},
    "lerf-l": {"name": "lerf-l", "args": {"nf": 4}},
    "lerf-g": {"name": "lerf-g", "args": {"nf": 4}},
    "lerf-lut": {"name": "lerf-lut"},
    "lerf-net": {"name": "lerf-net", "args": {"nf": 8}},
    "lerf-net-plus": {"name": "lerf-net-plus", "args": {"nf": 8, "upsampler_spec": LMLIIF}},
    "lerf-net-plus on ciaosr": {"name": "lerf-net-plus", "args": {"nf": 8, "upsampler_spec": small_spec("ciaosr")}},
}
ANY = (0.0, float("inf"))
FARTHEST = 56  # LR pixels that any of these reaches and a 4x4 kernel: LeRF-Net 2 * 22, on an upsampler a quarter less


@pytest.fixture(params=SPECS)
def upscaler(request) -> Upscaler:
    torch.manual_seed(0)
    model = models.make(SPECS[request.param]).eval()
    for parameter in model.parameters():
        if len(parameter) == 17**4:
            parameter.data.uniform_(-100, 100).round_()
    return Upscaler(model)


def test_half_types(upscaler) -> None:
    """A model in such a type stays within 50 dB of float32; others raise, or lose more."""
    picture = torch.rand(1, 3, 9, 11)
    expected = upscaler(picture, (20, 25))
    for dtype, supported in ((torch.float16, upscaler.supports_half), (torch.bfloat16, upscaler.supports_bfloat16)):
        try:
            made = Upscaler(copy.deepcopy(upscaler.model).to(dtype))(picture.to(dtype), (20, 25))
            psnr = -10 * (made.float() - expected).square().mean().log10()
            works = made.dtype == dtype and bool(psnr > 50)
        except RuntimeError:
            works = False
        assert works == supported, dtype


def test_pictures_of_every_size(upscaler) -> None:
    for size in ((1, 1), (1, 6), (7, 2)):
        made = upscaler(torch.rand(2, 3, *size), (2 * size[0] + 1, 3 * size[1]))
        assert made.shape == (2, 3, 2 * size[0] + 1, 3 * size[1])
        assert made.isfinite().all()


def test_tiles(upscaler) -> None:
    """The left part of a wide picture alone gives the same pixels, but near the cut; not where a pixel reads all."""
    torch.manual_seed(1)
    attends = [part for part in upscaler.model.modules() if isinstance(part, CrossScaleAttention)]
    for attention in attends:
        attention.down.weight.data.mul_(20)
    picture = torch.rand(1, 3, 8, 2 * FARTHEST + 20)
    part = picture[..., : FARTHEST + 16]
    whole, left = (upscaler(p, (16, 2 * p.shape[3]))[..., : 2 * 16] for p in (picture, part))
    difference = (whole - left).abs().max()
    assert not attends or upscaler.tiling is Tiling.DISCOURAGED
    assert (difference > 5e-5) if attends else (difference < 1e-5)


def test_what_is_said_of_each() -> None:
    def said(name: str) -> tuple[Tiling, tuple[float, float]]:
        upscaler = Upscaler(models.make(SPECS[name]))
        return upscaler.tiling, upscaler.scale_range

    assert said("lmliif") == (Tiling.INTERNAL, (1.0, 4.0))
    assert said("ciaosr") == (Tiling.DISCOURAGED, (1.0, 4.0))
    assert said("lmliif on swinir") == (Tiling.DISCOURAGED, (1.0, 4.0))
    assert said("edsr x3")[1] == (3.0, 3.0)
    assert said("lerf-net") == (Tiling.SUPPORTED, ANY)
    assert said("lerf-net-plus") == (Tiling.SUPPORTED, ANY)
    assert said("lerf-net-plus on ciaosr") == (Tiling.DISCOURAGED, ANY)
    assert said("nearest") == said("lerf-lut") == (Tiling.INTERNAL, ANY)
