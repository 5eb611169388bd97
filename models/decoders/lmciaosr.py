"""LM-CiaoSR (LMF, CVPR 2024): the attention of CiaoSR, once per LR pixel inside the latent MLP."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models import computing
from models.decoders.ciaosr import NonLocalEncoder, NonLocalLatent
from models.decoders.lmf import LMFDecoder, hidden_width
from models.layers.mlp import LMMLP, unfolded
from models.registry import make, register
from utils.config import Counts, Positive
from utils.errors import InputError
from utils.geometry.grids import Size
from utils.geometry.neighbours import PixelWindow

PIXEL_BYTES = 32_000  # that the attention takes for an LR pixel, about
CHUNK_PIXELS = 8192  # attended at a time on a CPU


@register("lmciaosr")
class LMCiaoSR(NonLocalEncoder, LMFDecoder):
    """Latent MLP: attention of each LR pixel (`prenet_q`) over the four 2x2 blocks of its 3x3 neighbourhood, scaled
    by `imnet_k` and `imnet_v`, then `hypernet_q`; render MLP (`imnet_q`) on [code, offset]. The bilinear LR picture
    is added.

    `mod_input` false: the render MLP reads the attended value instead of a code.
    """

    lr_skip = True
    cell_decode = False

    def __init__(
        self,
        encoder: Mapping[str, Any],
        prenet_q: Mapping[str, Any],
        hypernet_q: Mapping[str, Any],
        imnet_q: Mapping[str, Any],
        imnet_k: Mapping[str, Any],
        imnet_v: Mapping[str, Any],
        local_size: Literal[2] = 2,
        feat_unfold: bool = True,
        non_local_attn: bool = True,
        multi_scale: Counts = (2,),
        softmax_scale: Positive = 1,
        mod_input: bool = True,
    ):
        super().__init__()
        if not feat_unfold:
            raise InputError("lmciaosr attends within the 3x3 neighbourhood of a pixel; set feat_unfold: true")
        self.make_parts(encoder, non_local_attn, multi_scale)
        self.softmax_scale = softmax_scale
        self.mod_input = mod_input
        key_dim = 4 * self.encoder.out_dim
        value_dim = key_dim + self.non_local_dim
        self.code_dim = 2 * hidden_width(imnet_q) if mod_input else value_dim
        self.imnet_q = self.make_render_mlp(imnet_q, in_dim=self.code_dim + 2)
        self.prenet_q = make(prenet_q, in_dim=9 * self.encoder.out_dim, out_dim=key_dim)
        self.imnet_k = make(imnet_k, in_dim=key_dim + 4, out_dim=key_dim)
        self.imnet_v = make(imnet_v, in_dim=value_dim + 4, out_dim=value_dim)
        emitted = self.imnet.mod_dim + (self.code_dim if mod_input else 0)
        self.hypernet_q = make(hypernet_q, in_dim=value_dim, out_dim=emitted)

    @property
    def imnet(self) -> LMMLP:
        """The render MLP, under its name in the other LMF decoders."""
        return self.imnet_q

    def modulate(self, latent: NonLocalLatent, inner: PixelWindow, cell: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        neighbourhood = unfolded(latent.features)[:, inner.rows, inner.columns]
        batch, height, width, _ = neighbourhood.shape
        neighbourhood = neighbourhood.flatten(0, 2)  # (B * h * w, 576)
        non_local = None if latent.non_local is None else inner.of(latent.non_local).permute(0, 2, 3, 1).flatten(0, 2)
        cells = cell.expand(-1, -1, height, width).permute(0, 2, 3, 1).flatten(0, 2)
        device, outputs = cells.device, []
        step = CHUNK_PIXELS if device.type == "cpu" else computing.chunk_bytes(device) // PIXEL_BYTES
        starts = range(0, len(neighbourhood), step)
        whole = computing.is_exporting()  # graphs have no loops
        for chunk in [slice(None)] if whole else (slice(start, start + step) for start in starts):
            extra = None if non_local is None else non_local[chunk]
            with computing.reduced(device) as rounded:
                attended = self._attend(neighbourhood[chunk], extra, cells[chunk], size)
            outputs.append([part.float() for part in attended] if rounded else attended)
        modulation, code = (torch.cat(parts).reshape(batch, height, width, -1) for parts in zip(*outputs, strict=True))
        return modulation.permute(0, 3, 1, 2), code.permute(0, 3, 1, 2)

    def _attend(
        self, neighbourhood: Tensor, non_local: Tensor | None, cell: Tensor, size: Size
    ) -> tuple[Tensor, Tensor]:
        """Modulations and codes of N LR pixels, from (N, 576), (N, 64) and (N, 2)."""
        # Published weights read the unfolded channels as (3, 3, 64), which is not the order of unfolding, and select
        # rows by x and columns by y.
        blocks = neighbourhood.reshape(neighbourhood.shape[0], 3, 3, -1)
        scores, values = [], []
        query = self.prenet_q(neighbourhood)
        for vy in (-1, 1):
            for vx in (-1, 1):
                row, column = int(vx > 0), int(vy > 0)
                key = blocks[:, row : row + 2, column : column + 2].flatten(1)  # (N, 256)
                value = key if non_local is None else torch.cat([key, non_local], dim=1)
                ones = torch.ones_like(key[:, :1])
                offset = torch.cat([-vy * ones / size[0], -vx * ones / size[1]], dim=1)
                key = key * self.imnet_k(torch.cat([key, offset, cell], dim=1))
                values.append(value * self.imnet_v(torch.cat([value, offset, cell], dim=1)))
                scores.append((query * key).sum(1, dtype=cell.dtype) / self.softmax_scale)
        attention = torch.stack(scores).softmax(0)[..., None]  # (4, N, 1)
        value = (attention * torch.stack(values)).sum(0)
        modulation, code = self.split_output(self.hypernet_q(value))
        return modulation, code if self.mod_input else value

    def latent_runs(self, pixels: int) -> list[tuple[nn.Module | int, int]]:
        attention = [(self.prenet_q, pixels), (self.imnet_k, 4 * pixels), (self.imnet_v, 4 * pixels)]
        return [*attention, (self.hypernet_q, pixels), (self.imnet_k.layers[-1].out_features, 4 * pixels)]
