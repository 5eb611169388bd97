"""Encoding large pictures in row chunks."""

import torch
from torch import Tensor, nn

from models import precision

# A chunk has at least this many pixels, and this many times the rows that are encoded again at its borders.
CHUNK_PIXELS = 1 << 20
CHUNK_REACHES = 16


def encode_in_chunks(encoder: nn.Module, image: Tensor) -> Tensor:
    """`encoder(image)`, (B, 3, h, w) -> (B, out_dim, h, w), with intermediates no larger than those of a chunk.

    For encoders that say how many rows a feature `reach`es, without gradients; others read the whole picture at once,
    as do exported graphs, which have no loops. Computed in the precision in use.
    """

    def encoded(part: Tensor) -> Tensor:
        with precision.reduced(image.device) as rounded:
            features = encoder(part)
        return features.float() if rounded else features

    height, width = image.shape[-2:]
    reach = getattr(encoder, "reach", None)
    if reach is None or torch.is_grad_enabled() or torch.onnx.is_in_onnx_export():
        return encoded(image)
    rows = max(CHUNK_PIXELS // (len(image) * width), CHUNK_REACHES * reach, 1)
    if rows >= height:
        return encoded(image)
    features = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - reach, 0), min(bottom + reach, height)
        chunk = encoded(image[:, :, first:last])
        if features is None:
            in_last = chunk.is_contiguous(memory_format=torch.channels_last)
            layout = torch.channels_last if in_last else torch.contiguous_format
            size = (len(chunk), chunk.shape[1], height, width)
            features = torch.empty(size, dtype=chunk.dtype, device=chunk.device, memory_format=layout)
        features[:, :, top:bottom] = chunk[:, :, top - first : bottom - first]
    return features
