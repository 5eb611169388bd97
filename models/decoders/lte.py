"""LTE (Lee and Jin, CVPR 2022): an MLP on the Fourier features of the four LR pixels around a position."""

from collections.abc import Mapping
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from models.continuous import Field, Latent
from models.encoders import make_encoder
from models.layers.convolution import Convolution
from models.layers.fourier import fourier_features, fourier_table
from models.layers.mlp import linear_on_map
from models.local_ensemble import LocalEnsembleModel
from models.registry import make, register
from utils.config import Count, Even
from utils.geometry.grids import cell_in_pixels
from utils.geometry.neighbours import Neighbours


class FourierDecoder(LocalEnsembleModel):
    """Base of LTE and LTE+: a subclass sets the order of the frequencies and decodes the features."""

    interleaved: bool
    decoder: str
    """Name of the MLP."""

    def __init__(self, encoder_spec: Mapping[str, Any], hidden_dim: int):
        super().__init__()
        self.encoder = make_encoder(encoder_spec)
        self.coef = Convolution(self.encoder.out_dim, hidden_dim, 3)
        self.freq = Convolution(self.encoder.out_dim, hidden_dim, 3)
        self.phase = nn.Linear(2, hidden_dim // 2, bias=False)
        self.floats_per_query = 4 * hidden_dim

    def decode(self, features: Tensor) -> Tensor:
        """(..., hidden_dim) -> (..., 3)."""
        raise NotImplementedError

    def field(self, latent: Latent, cell: Tensor) -> Field:
        features = latent.features
        phase = linear_on_map(cell_in_pixels(cell, features.shape[-2:]), self.phase.weight)
        return Field(fourier_table(self.coef(features), self.freq(features), phase, self.interleaved), latent.image)

    def query(self, field: Field, neighbours: Neighbours) -> Tensor:
        return neighbours.blend(self.decode(fourier_features(neighbours.gather(field.table), *neighbours.offsets())))

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        at_neighbours = self.neighbours * queries
        mlp = getattr(self, self.decoder)
        return [(self.coef, pixels), (self.freq, pixels), (self.phase, at_neighbours), (mlp, at_neighbours)]


@register("lte")
class LTE(FourierDecoder):
    """LTE with its MLP; the bilinear LR picture is added."""

    interleaved = True
    decoder = "imnet"

    def __init__(self, encoder_spec: Mapping[str, Any], imnet_spec: Mapping[str, Any], hidden_dim: Even = 256):
        super().__init__(encoder_spec, hidden_dim)
        self.imnet = make(imnet_spec, in_dim=hidden_dim, out_dim=3)

    def decode(self, features: Tensor) -> Tensor:
        return self.imnet(features)


@register("lte-fast")
class LTEFast(FourierDecoder):
    """LTE+: the MLP is stored as 1x1 convolutions, `num_layer` of them hidden; frequencies are all y, then all x."""

    interleaved = False
    decoder = "layers"

    def __init__(
        self, encoder_spec: Mapping[str, Any], num_layer: Count = 3, hidden_dim: Even = 256, out_dim: Literal[3] = 3
    ):
        super().__init__(encoder_spec, hidden_dim)
        layers: list[nn.Module] = []
        for _ in range(num_layer):
            layers += [nn.Conv2d(hidden_dim, hidden_dim, 1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(hidden_dim, out_dim, 1))

    def decode(self, features: Tensor) -> Tensor:
        for layer in self.layers:
            is_conv = isinstance(layer, nn.Conv2d)
            features = F.linear(features, layer.weight[:, :, 0, 0], layer.bias) if is_conv else layer(features)
        return features
