"""Encoders: (B, 3, h, w) normalised picture -> (B, out_dim, h, w) features.

An encoder has the attributes `out_dim` and `upsamples`, whether it ends in an upsampling tail. One without a tail may
also set `reach`, the largest distance in pixels that a feature depends on; large pictures are then encoded in row
chunks.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from models import computing
from models.registry import make, registry
from utils import progress
from utils.errors import InputError, nearest_name

# A chunk has at least this many pixels, and this many times the rows that are encoded again at its borders.
CHUNK_PIXELS = 1 << 20
CHUNK_REACHES = 16


def make_encoder(spec: Mapping[str, Any], upsamples: bool = False) -> nn.Module:
    """The encoder of a decoder: features at LR size, or with `upsamples` a network that ends in its own tail."""
    encoder = make(spec)
    if not hasattr(encoder, "upsamples"):
        raise InputError(f"'{spec['name']}' is not an encoder; {nearest_name(spec['name'], registry.names(__name__))}")
    if encoder.upsamples != upsamples:
        wanted = "false (without an imnet_spec it must upsample by itself)" if upsamples else "true"
        raise InputError(f"encoder '{spec['name']}' needs no_upsampling: {wanted}")
    return encoder


def encode_in_chunks(encoder: nn.Module, image: Tensor) -> Tensor:
    """`encoder(image)`, (B, 3, h, w) -> (B, out_dim, h, w), in the precision in use, with bounded intermediates.

    Encoders without a `reach` read the whole picture at once, as does training, and exported graphs.
    """

    def encoded(part: Tensor, rows: int) -> Tensor:
        with computing.reduced(image.device) as rounded, _told_by_layers(encoder, rows):
            features = encoder(part)
        return features.float() if rounded else features

    (height, width), reach = image.shape[-2:], getattr(encoder, "reach", None)
    whole = reach is None or torch.is_grad_enabled() or computing.is_exporting()
    rows = height if whole else max(CHUNK_PIXELS // (len(image) * width), CHUNK_REACHES * reach, 1)
    with progress.stage("encoding", height):
        if whole or rows >= height:
            return encoded(image, height)
        features = None
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first, last = max(top - reach, 0), min(bottom + reach, height)
            chunk = encoded(image[:, :, first:last], bottom - top)
            if features is None:
                in_last = chunk.is_contiguous(memory_format=torch.channels_last)
                layout = torch.channels_last if in_last else torch.contiguous_format
                features = chunk.new_empty(*chunk.shape[:2], height, width).contiguous(memory_format=layout)
            features[:, :, top:bottom] = chunk[:, :, top - first : bottom - first]
    return features


@contextmanager
def _told_by_layers(encoder: nn.Module, rows: int) -> Iterator[None]:
    """Count so many rows of progress while the encoder's layers run, in equal shares; fixed layers may be unused."""
    hooks = []
    if progress.is_told():
        modules = (layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
        layers = [layer for layer in modules if layer.weight.requires_grad]
        hooks = [layer.register_forward_hook(lambda *_: progress.advance(rows / len(layers))) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
