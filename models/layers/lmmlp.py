"""The render MLP of LMF: a tiny MLP whose hidden units are scaled and shifted per LR pixel."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.registry import register
from utils.config import Count
from utils.errors import InputError


@register("lmmlp")
class LMMLP(nn.Module):
    """Modulated MLP (LMF): `hidden_depth` layers x = relu((Wx + b) * (1 + scale) + shift), then one plain Linear.

    A modulation vector is [scale_0 .. scale_{D-1}, shift_0 .. shift_{D-1}], `hidden_dim` each; without `mod_scale` or
    `mod_shift` that half is left out. Linear layers are `layers.0`, `layers.2`, ...
    """

    def __init__(
        self,
        in_dim: Count,
        out_dim: Count = 3,
        hidden_dim: Count = 16,
        hidden_depth: Count = 6,
        mod_scale: bool = True,
        mod_shift: bool = True,
    ):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.hidden_depth = hidden_depth
        self.mod_scale = mod_scale
        self.mod_shift = mod_shift
        self.mod_dim = hidden_dim * hidden_depth * (mod_scale + mod_shift)
        if not (mod_scale or mod_shift):
            raise InputError("an lmmlp needs mod_scale, mod_shift or both")
        layers: list[nn.Module] = []
        for depth in range(hidden_depth):
            layers += [nn.Linear(hidden_dim if depth else in_dim, hidden_dim), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden_dim, out_dim))

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """(..., in_dim) inputs and (..., mod_dim) modulations, broadcasting, -> (..., out_dim)."""
        return self.after_first(self.layers[0](x), *self.split(modulation))

    def split(self, modulation: Tensor) -> tuple[Sequence[Tensor] | None, Sequence[Tensor] | None]:
        """(..., mod_dim) -> scales and shifts, each one (..., hidden_dim) a layer, or None if left out."""
        layers = modulation.split(self.hidden_dim, dim=-1)
        first, last = layers[: self.hidden_depth], layers[-self.hidden_depth :]
        return first if self.mod_scale else None, last if self.mod_shift else None

    def after_first(
        self, hidden: Tensor, scales: Iterable[Tensor] | None = None, shifts: Iterable[Tensor] | None = None
    ) -> Tensor:
        """The layers after the first, from its output (..., hidden_dim) before modulation: (..., out_dim).

        `scales`, `shifts`: one (..., hidden_dim) a layer, read one after another, so that they may be made on demand.
        """
        absent = [None] * self.hidden_depth
        for following, scale, shift in zip(self.layers[2::2], scales or absent, shifts or absent, strict=True):
            if scale is None:
                hidden = hidden + shift
            elif shift is None:
                hidden = hidden * (1 + scale)
            else:
                hidden = torch.addcmul(shift, hidden, 1 + scale)
            hidden = following(F.relu_(hidden))
        return hidden
