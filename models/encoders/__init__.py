"""Encoders: (B, 3, h, w) normalised picture -> (B, out_dim, h, w) features.

An encoder without a tail may say in `reach` how many pixels away what a feature depends on is at most; large pictures
are then encoded by bands (`models.encoders.bands`).
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from models.encoders import edsr, rcan, rdn, swinir
from models.registry import make
from utils.errors import InputError, nearest_name

ENCODERS = ("edsr-baseline", "edsr", "rdn", "rcan", "swinir")


def make_encoder(spec: Mapping[str, Any], upsamples: bool = False) -> nn.Module:
    """The encoder of a decoder: one of features at LR size, or with `upsamples` one that ends in its own tail."""
    encoder = make(spec)
    if not hasattr(encoder, "upsamples"):
        raise InputError(f"'{spec['name']}' is no encoder; {nearest_name(spec['name'], ENCODERS)}")
    if encoder.upsamples != upsamples:
        wanted = "false (without an imnet_spec it must upsample by itself)" if upsamples else "true"
        raise InputError(f"encoder '{spec['name']}' needs no_upsampling: {wanted}")
    return encoder


__all__ = ["edsr", "make_encoder", "rcan", "rdn", "swinir"]
