"""Encoding large pictures in row chunks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models import precision
from models.layers.exporting import is_exporting
from utils import progress

# A chunk has at least this many pixels, and this many times the rows that are encoded again at its borders.
CHUNK_PIXELS = 1 << 20
CHUNK_REACHES = 16


def encode_in_chunks(encoder: nn.Module, image: Tensor) -> Tensor:
    """`encoder(image)`, (B, 3, h, w) -> (B, out_dim, h, w), with intermediates no larger than those of a chunk.

    For encoders that say how many rows a feature `reach`es, without gradients; others read the whole picture at once,
    as do exported graphs, which have no loops. Computed in the precision in use.
    """

    def encoded(part: Tensor, rows: int) -> Tensor:
        with precision.reduced(image.device) as rounded, _told_by_layers(encoder, rows):
            features = encoder(part)
        return features.float() if rounded else features

    with progress.stage("encoding", image.shape[-2]):
        return _in_chunks(encoder, encoded, image)


def _in_chunks(encoder: nn.Module, encoded: Callable[..., Tensor], image: Tensor) -> Tensor:
    """The chunks `encoded`, each called with how many rows it adds, as one."""
    height, width = image.shape[-2:]
    reach = getattr(encoder, "reach", None)
    if reach is None or torch.is_grad_enabled() or is_exporting():
        return encoded(image, height)
    rows = max(CHUNK_PIXELS // (len(image) * width), CHUNK_REACHES * reach, 1)
    if rows >= height:
        return encoded(image, height)
    features = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - reach, 0), min(bottom + reach, height)
        chunk = encoded(image[:, :, first:last], bottom - top)
        if features is None:
            in_last = chunk.is_contiguous(memory_format=torch.channels_last)
            layout = torch.channels_last if in_last else torch.contiguous_format
            size = (len(chunk), chunk.shape[1], height, width)
            features = torch.empty(size, dtype=chunk.dtype, device=chunk.device, memory_format=layout)
        features[:, :, top:bottom] = chunk[:, :, top - first : bottom - first]
    return features


@contextmanager
def _told_by_layers(encoder: nn.Module, rows: int) -> Iterator[None]:
    """Count so many rows while the encoder's layers run, in equal shares, where somebody listens; fixed layers, which
    may be unused, are left out."""
    if not progress.is_told():
        yield
        return
    kinds = nn.Conv2d | nn.Linear
    layers = [layer for layer in encoder.modules() if isinstance(layer, kinds) and layer.weight.requires_grad]
    hooks = [layer.register_forward_hook(lambda *_: progress.advance(rows / len(layers))) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
