"""Encoders: (B, 3, h, w) normalised picture -> (B, out_dim, h, w) features.

An encoder has the attributes in ATTRIBUTES. One without a tail may also set `reach`, the largest distance in pixels
that a feature depends on; large pictures are then encoded in row chunks (`models.encoders.chunks`).
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from models.registry import make, registry
from utils.errors import InputError, nearest_name

ATTRIBUTES = {"out_dim": "its number of output channels", "upsamples": "whether it ends in an upsampling tail"}


def make_encoder(spec: Mapping[str, Any], upsamples: bool = False) -> nn.Module:
    """The encoder of a decoder: features at LR size, or with `upsamples` a network that ends in its own tail."""
    encoder = make(spec)
    lacking = [attribute for attribute in ATTRIBUTES if not hasattr(encoder, attribute)]
    known = registry.names(__name__)
    if lacking and spec["name"] not in known:
        raise InputError(f"'{spec['name']}' is not an encoder; {nearest_name(spec['name'], known)}")
    if lacking:
        raise InputError(f"encoder '{spec['name']}' lacks the attribute '{lacking[0]}', {ATTRIBUTES[lacking[0]]}")
    if encoder.upsamples != upsamples:
        wanted = "false (without an imnet_spec it must upsample by itself)" if upsamples else "true"
        raise InputError(f"encoder '{spec['name']}' needs no_upsampling: {wanted}")
    return encoder
