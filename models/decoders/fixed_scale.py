"""A super-resolution network with its own upsampling tail, read as a continuous model."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.continuous import ContinuousModel, Field, Latent
from models.encoders import make_encoder
from utils.geometry.grids import sample_nearest


class FixedScale(ContinuousModel):
    """The encoder's upsampled picture, sampled at the nearest pixel (LIIF's baselines `edsr-baseline-x2` and so on)."""

    whole_types = (torch.float16, torch.bfloat16)

    def __init__(self, encoder_spec: Mapping[str, Any]):
        super().__init__()
        self.encoder = make_encoder(encoder_spec, upsamples=True)
        factors = [layer.upscale_factor for layer in self.encoder.modules() if isinstance(layer, nn.PixelShuffle)]
        if factors:
            self.trained_scales = (float(math.prod(factors)),) * 2

    def field(self, latent: Latent, cell: Tensor) -> Field:
        return Field(latent.features.permute(0, 2, 3, 1))

    def sample(self, field: Field, coord: Tensor) -> Tensor:
        return sample_nearest(field.table, coord)

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        return []
