"""Encoding large pictures by bands of rows."""

import torch
from torch import Tensor, nn

# A band has so many pixels, and so many times the rows that are encoded again beside it.
BAND_PIXELS = 1 << 20
BAND_REACHES = 16


def encode_by_bands(encoder: nn.Module, image: Tensor) -> Tensor:
    """`encoder(image)`, (B, 3, h, w) -> (B, out_dim, h, w), whose intermediates are as large as a band's.

    For encoders that say how many rows away a feature `reach`es, and without gradients; others see the whole picture.
    """
    height, width = image.shape[-2:]
    reach = getattr(encoder, "reach", None)
    if reach is None or torch.is_grad_enabled():
        return encoder(image)
    rows = max(BAND_PIXELS // (len(image) * width), BAND_REACHES * reach, 1)
    if rows >= height:
        return encoder(image)
    features = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - reach, 0), min(bottom + reach, height)
        band = encoder(image[:, :, first:last])
        if features is None:
            in_last = band.is_contiguous(memory_format=torch.channels_last)
            layout = torch.channels_last if in_last else torch.contiguous_format
            size = (len(band), band.shape[1], height, width)
            features = torch.empty(size, dtype=band.dtype, device=band.device, memory_format=layout)
        features[:, :, top:bottom] = band[:, :, top - first : bottom - first]
    return features
