"""LTE (Lee and Jin, CVPR 2022): an MLP on the Fourier features of the four LR pixels around a position."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.continuous import Field, Latent
from models.encoders import make_encoder
from models.layers.convolution import Convolution
from models.layers.mlp import linear_on_map
from models.local_ensemble import LocalEnsembleModel
from models.registry import make, register
from utils.config import Count, Even
from utils.geometry.grids import cell_in_pixels
from utils.geometry.neighbours import Neighbours


def fourier_table(coef: Tensor, freq: Tensor, phase: Tensor, interleaved: bool = True) -> Tensor:
    """Fourier amplitudes, frequencies and phases per LR pixel, joined to (B, h, w, 2.5 C) for `fourier_features`.

    `coef` (B, C, h, w) amplitudes; `freq` (B, C, h, w) frequencies, (y, x) pairs when `interleaved`, else all y and
    then all x; `phase` (B, C/2, h or 1, w or 1).
    """
    along_y, along_x = (freq[:, 0::2], freq[:, 1::2]) if interleaved else freq.chunk(2, dim=1)
    parts = coef, along_y, along_x, phase.expand(-1, -1, *coef.shape[-2:])
    return torch.cat([part.permute(0, 2, 3, 1) for part in parts], dim=-1)


def fourier_features(table: Tensor, offset_y: Tensor | float, offset_x: Tensor | float) -> Tensor:
    """Entries of a `fourier_table` (..., 2.5 C) at offsets in LR pixels: (..., C), amplitude times cosine and sine."""
    half = table.shape[-1] // 5
    coef, along_y, along_x, phase = table.split([2 * half, half, half, half], dim=-1)
    angle = math.pi * (along_y * offset_y + along_x * offset_x + phase)
    return coef * torch.cat([angle.cos(), angle.sin()], dim=-1)


class FourierDecoder(LocalEnsembleModel):
    """Base of LTE and LTE+."""

    interleaved: bool  # the order of the frequencies, see `fourier_table`
    decoder: str  # the name of the MLP, (..., hidden_dim) -> (..., 3)

    def __init__(self, encoder_spec: Mapping[str, Any], hidden_dim: int):
        super().__init__()
        self.encoder = make_encoder(encoder_spec)
        self.coef = Convolution(self.encoder.out_dim, hidden_dim, 3)
        self.freq = Convolution(self.encoder.out_dim, hidden_dim, 3)
        self.phase = nn.Linear(2, hidden_dim // 2, bias=False)
        self.floats_per_query = 4 * hidden_dim

    def field(self, latent: Latent, cell: Tensor) -> Field:
        features = latent.features
        phase = linear_on_map(cell_in_pixels(cell, features.shape[-2:]), self.phase.weight)
        return Field(fourier_table(self.coef(features), self.freq(features), phase, self.interleaved), latent.image)

    def query(self, field: Field, neighbours: Neighbours) -> Tensor:
        features = fourier_features(neighbours.gather(field.table), *neighbours.offsets())
        return neighbours.blend(self.get_submodule(self.decoder)(features))

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        at_neighbours = self.neighbours * queries
        mlp = self.get_submodule(self.decoder)
        return [(self.coef, pixels), (self.freq, pixels), (self.phase, at_neighbours), (mlp, at_neighbours)]


@register("lte")
class LTE(FourierDecoder):
    """LTE with its MLP; the bilinear LR picture is added."""

    interleaved = True
    decoder = "imnet"

    def __init__(self, encoder_spec: Mapping[str, Any], imnet_spec: Mapping[str, Any], hidden_dim: Even = 256):
        super().__init__(encoder_spec, hidden_dim)
        self.imnet = make(imnet_spec, in_dim=hidden_dim, out_dim=3)


class PixelLinear(nn.Conv2d):
    """A 1x1 convolution applied to the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight[:, :, 0, 0], self.bias)


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
            layers += [PixelLinear(hidden_dim, hidden_dim, 1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, PixelLinear(hidden_dim, out_dim, 1))
