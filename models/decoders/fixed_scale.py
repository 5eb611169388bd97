"""A super-resolution network with its own upsampling tail, read as a continuous model."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.continuous import ContinuousModel, Field, Latent
from models.registry import make
from utils.coords import sample_nearest
from utils.errors import InputError


class FixedScale(ContinuousModel):
    """The encoder's upsampled picture, sampled at the nearest pixel (LIIF's baselines `edsr-baseline-x2` and so on)."""

    def __init__(self, encoder_spec: Mapping[str, Any]):
        super().__init__()
        self.encoder = make(encoder_spec)
        if self.encoder.out_dim != 3:
            raise InputError("without an imnet_spec the encoder must upsample by itself; set no_upsampling: false")

    def encode(self, image: Tensor) -> Latent:
        return Latent(self.encoder(image), image)

    def field(self, latent: Latent, cell: Tensor) -> Field:
        return Field(latent.features.permute(0, 2, 3, 1))

    def sample(self, field: Field, coord: Tensor) -> Tensor:
        return sample_nearest(field.table, coord)
