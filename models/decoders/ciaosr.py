"""CiaoSR (Cao et al., CVPR 2023): attention to the latents around a position, with cross-scale non-local features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models import computing
from models.continuous import ContinuousModel, Field, Latent, Tiling
from models.encoders import encode_in_chunks, make_encoder
from models.layers.cross_scale_attention import CrossScaleAttention
from models.layers.mlp import MLP, linear_on_map, unfolded, unfolded_linear
from models.registry import make, register
from utils.config import Counts, Positive
from utils.geometry.grids import attention_reach, cell_at, cell_in_pixels, sample_nearest
from utils.geometry.neighbours import Neighbours


@dataclass(frozen=True)
class NonLocalLatent(Latent):
    """A latent with its `non_local` features (B, 64 per scale, h, w), or None."""

    non_local: Tensor | None = None

    def part(self, rows: slice, columns: slice) -> "NonLocalLatent":
        non_local = None if self.non_local is None else self.non_local[:, :, rows, columns]
        return replace(super().part(rows, columns), non_local=non_local)


class NonLocalEncoder(nn.Module):
    """Base of CiaoSR and LM-CiaoSR: an encoder followed by cross-scale attention, which reads the whole picture."""

    context = None

    def make_parts(self, encoder: Mapping[str, Any], non_local_attn: bool, multi_scale: Sequence[int]) -> None:
        """Set `encoder`, `cs_attn` and `non_local_dim`."""
        self.encoder = make_encoder(encoder)
        self.cs_attn = CrossScaleAttention(self.encoder.out_dim, multi_scale) if non_local_attn else None
        self.non_local_dim = self.encoder.out_dim * len(multi_scale) if non_local_attn else 0

    @property
    def tiling(self) -> Tiling:
        return super().tiling if self.cs_attn is None else Tiling.DISCOURAGED

    def encode(self, image: Tensor) -> NonLocalLatent:
        features = encode_in_chunks(self.encoder, image)
        if self.cs_attn is None:
            return NonLocalLatent(features, image)
        with computing.reduced(image.device) as rounded:
            attended = self.cs_attn(features)
        return NonLocalLatent(features, image, attended.float() if rounded else attended)


@dataclass(frozen=True, kw_only=True)
class AttentionField(Field):
    """`table` (B, h, w, C) values: latents and non-local features; `hidden_key`, `hidden_value` (B, h, w, hidden): the
    first layers of imnet_k and imnet_v but for the offset; `cell` (B, 2) or (B, 2, h, w)."""

    hidden_key: Tensor
    hidden_value: Tensor
    cell: Tensor


@register("ciaosr")
class CiaoSR(NonLocalEncoder, ContinuousModel):
    """Softmax attention of the latent at a position (query) to the four around it; the bilinear LR picture is added.

    Keys and values are multiplied by `imnet_k` and `imnet_v` of [key or value, offset, cell]; `imnet_q` turns the
    attended value into rgb. `feat_unfold` false: latents are single pixels.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        imnet_q: Mapping[str, Any],
        imnet_k: Mapping[str, Any],
        imnet_v: Mapping[str, Any],
        local_size: Literal[2] = 2,
        feat_unfold: bool = True,
        non_local_attn: bool = True,
        multi_scale: Counts = (2,),
        softmax_scale: Positive = 1,
    ):
        super().__init__()
        self.make_parts(encoder, non_local_attn, multi_scale)
        self.feat_unfold = feat_unfold
        self.softmax_scale = softmax_scale
        self.key_dim = self.encoder.out_dim * (9 if feat_unfold else 1)
        value_dim = self.key_dim + self.non_local_dim
        self.imnet_q = make(imnet_q, in_dim=value_dim, out_dim=3)
        self.imnet_k = make(imnet_k, in_dim=self.key_dim + 4, out_dim=self.key_dim)
        self.imnet_v = make(imnet_v, in_dim=value_dim + 4, out_dim=value_dim)
        self.floats_per_query = self.key_dim + value_dim

    def field(self, latent: NonLocalLatent, cell: Tensor) -> AttentionField:
        table = unfolded(latent.features) if self.feat_unfold else latent.features.permute(0, 2, 3, 1)
        if latent.non_local is not None:
            table = torch.cat([table, latent.non_local.permute(0, 2, 3, 1)], dim=-1)
        hidden = (self._first_layer(imnet, latent, cell) for imnet in (self.imnet_k, self.imnet_v))
        hidden_key, hidden_value = (h.permute(0, 2, 3, 1) for h in hidden)
        return AttentionField(table, latent.image, hidden_key=hidden_key, hidden_value=hidden_value, cell=cell)

    def _first_layer(self, imnet: MLP, latent: NonLocalLatent, cell: Tensor) -> Tensor:
        """First layer of imnet_k or imnet_v for every LR pixel, without the offset: (B, hidden, h, w)."""
        first = imnet.layers[0]
        of_key, of_rest = first.weight.tensor_split([self.key_dim], dim=1)
        hidden = unfolded_linear(latent.features, of_key, first.bias, self.feat_unfold)
        if imnet is self.imnet_v and latent.non_local is not None:
            hidden = hidden + linear_on_map(latent.non_local, of_rest[:, :-4])
        return hidden + linear_on_map(cell_in_pixels(cell, latent.features.shape[-2:]), of_rest[:, -2:])

    def sample(self, field: AttentionField, coord: Tensor) -> Tensor:
        cell = cell_at(field.cell, coord)
        neighbours = Neighbours.of_points(coord, field.pixels, True, attention_reach(cell, field.size))
        query = sample_nearest(field.table, coord)[..., : self.key_dim]
        keys = field.table[..., : self.key_dim]
        scores = []
        for one in neighbours.each():  # four values of every position at once would fill the memory
            key = one.gather(keys)[0, 0] * self._modulation(self.imnet_k, field.hidden_key, one)
            scores.append((query * key).sum(-1, keepdim=True))
        attention = (torch.stack(scores) / self.softmax_scale).softmax(0)  # (4, B, Q, 1)
        value: Tensor | float = 0.0
        for one, share in zip(neighbours.each(), attention, strict=True):
            modulation = self._modulation(self.imnet_v, field.hidden_value, one)
            value = value + share * (one.gather(field.table)[0, 0] * modulation)
        return self.imnet_q(value) + field.skip_at(coord)

    def _modulation(self, imnet: MLP, hidden: Tensor, neighbours: Neighbours) -> Tensor:
        """imnet_k or imnet_v at one neighbour: (B, Q, C)."""
        of_offset = imnet.layers[0].weight[:, -4:-2]
        return imnet.after_first((neighbours.gather(hidden) + neighbours.project_offset(of_offset))[0, 0])

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        networks = [(self.imnet_k, 4 * queries), (self.imnet_v, 4 * queries), (self.imnet_q, queries)]
        return [*networks, (self.key_dim, 4 * queries)]
