"""LIIF (Chen et al., CVPR 2021): one large MLP gives the value at a position from the nearest latents."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.continuous import ContinuousModel, Field, Latent
from models.encoders import make_encoder
from models.layers.mlp import linear_on_map, unfolded_linear
from models.local_ensemble import LocalEnsembleModel
from models.registry import make, register
from utils.geometry.grids import cell_in_pixels, sample_nearest
from utils.geometry.neighbours import Neighbours


class LIIF(LocalEnsembleModel):
    """MLP([latent, offset, cell]) of the four LR pixels around a position, blended by area (LIIF, equations 1 and 4).

    The MLP's first layer is linear in its input, so the part that belongs to the LR pixel (latent and cell) is computed
    once per LR pixel in `field`; only the two offset columns remain per position.

    `feat_unfold`: the latent is the 3x3 neighbourhood; `local_ensemble` false: the nearest LR pixel only, no blend;
    `cell_decode` false: no cell columns.
    """

    def __init__(
        self,
        encoder_spec: Mapping[str, Any],
        imnet_spec: Mapping[str, Any],
        local_ensemble: bool = True,
        feat_unfold: bool = True,
        cell_decode: bool = True,
    ):
        super().__init__()
        self.local_ensemble = local_ensemble
        self.feat_unfold = feat_unfold
        self.cell_decode = cell_decode
        self.encoder = make_encoder(encoder_spec)
        self.latent_dim = self.encoder.out_dim * (9 if feat_unfold else 1)
        self.imnet = make(imnet_spec, in_dim=self.latent_dim + (4 if cell_decode else 2), out_dim=3)
        self.floats_per_query = 4 * self.imnet.layers[0].out_features

    def field(self, latent: Latent, cell: Tensor) -> Field:
        first = self.imnet.layers[0]
        of_latent, _, of_cell = first.weight.tensor_split([self.latent_dim, self.latent_dim + 2], dim=1)
        hidden = unfolded_linear(latent.features, of_latent, first.bias, self.feat_unfold)
        if self.cell_decode:
            hidden = hidden + linear_on_map(cell_in_pixels(cell, latent.features.shape[-2:]), of_cell)
        return Field(hidden.permute(0, 2, 3, 1))

    def query(self, field: Field, neighbours: Neighbours) -> Tensor:
        of_offset = self.imnet.layers[0].weight[:, self.latent_dim : self.latent_dim + 2]
        hidden = neighbours.gather(field.table) + neighbours.project_offset(of_offset)
        return neighbours.blend(self.imnet.after_first(hidden))

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        return [(self.imnet, self.neighbours * queries)]


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


@register("liif")
def liif(
    encoder_spec: Mapping[str, Any],
    imnet_spec: Mapping[str, Any] | None = None,
    local_ensemble: bool = True,
    feat_unfold: bool = True,
    cell_decode: bool = True,
) -> ContinuousModel:
    """LIIF, or without an `imnet_spec` the output of the encoder's own tail, as in the authors' configs."""
    if imnet_spec is None:
        return FixedScale(encoder_spec)
    return LIIF(encoder_spec, imnet_spec, local_ensemble, feat_unfold, cell_decode)
