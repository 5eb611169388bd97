"""The latent of CiaoSR and LM-CiaoSR: features, and cross-scale attention on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from models import precision
from models.capabilities import Tiling
from models.continuous import Latent
from models.encoders import make_encoder
from models.encoders.chunks import encode_in_chunks
from models.layers.cross_scale_attention import CrossScaleAttention


@dataclass(frozen=True)
class NonLocalLatent(Latent):
    """A latent with its `non_local` features (B, 64 per scale, h, w), or None."""

    non_local: Tensor | None = None

    def part(self, rows: slice, columns: slice) -> "NonLocalLatent":
        non_local = None if self.non_local is None else self.non_local[:, :, rows, columns]
        return replace(super().part(rows, columns), non_local=non_local)


class NonLocalEncoder(nn.Module):
    """Base of CiaoSR and LM-CiaoSR: an encoder followed by cross-scale attention."""

    def make_parts(self, encoder: Mapping[str, Any], non_local_attn: bool, multi_scale: Sequence[int]) -> None:
        """Set `encoder`, `cs_attn` and `non_local_dim`."""
        self.encoder = make_encoder(encoder)
        self.cs_attn = CrossScaleAttention(self.encoder.out_dim, multi_scale) if non_local_attn else None
        self.non_local_dim = self.encoder.out_dim * len(multi_scale) if non_local_attn else 0

    @property
    def tiling(self) -> Tiling:
        return super().tiling if self.cs_attn is None else Tiling.DISCOURAGED

    @property
    def context(self) -> None:
        """The attention reads the whole picture."""
        return None

    def encode(self, image: Tensor) -> NonLocalLatent:
        features = encode_in_chunks(self.encoder, image)
        if self.cs_attn is None:
            return NonLocalLatent(features, image)
        with precision.reduced(image.device) as rounded:
            attended = self.cs_attn(features)
        return NonLocalLatent(features, image, attended.float() if rounded else attended)
