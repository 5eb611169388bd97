"""Multi-layer perceptrons, plain and modulated, on the last axis of a tensor or the pixels of a feature map."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.computing import is_exporting
from models.layers.convolution import convolved
from models.registry import register
from utils.config import Count
from utils.errors import InputError
from utils.geometry.neighbours import PixelWindow


def linear_layers(in_dim: int, hidden: Iterable[int], out_dim: int) -> nn.Sequential:
    """Linear and ReLU layers in turn; Linear layers are `layers.0`, `layers.2`, ..."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(in_dim, width), nn.ReLU()]
        in_dim = width
    return nn.Sequential(*layers, nn.Linear(in_dim, out_dim))


@register("mlp")
class MLP(nn.Module):
    """`linear_layers`, (..., in_dim) -> (..., out_dim)."""

    def __init__(self, in_dim: Count, out_dim: Count, hidden_list: Sequence[Count]):
        super().__init__()
        self.layers = linear_layers(in_dim, hidden_list, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def after_first(self, hidden: Tensor) -> Tensor:
        """The rest of the network on the first layer's output before its ReLU, (..., hidden) -> (..., out_dim)."""
        return self.layers[1:](hidden)

    def on_latents(self, features: Tensor, inner: PixelWindow, cell: Tensor | None, feat_unfold: bool = True) -> Tensor:
        """The network on [features, unfolded 3x3 or plain; cell] of the pixels `inner`: (B, c, h, w) and, in LR pixels,
        (B, 2, h or 1, w or 1), or None for a network that reads no cell -> (B, out_dim, h, w)."""
        first = self.layers[0]
        of_cell = 0 if cell is None else 2
        of_latent, of_cell = first.weight.split([first.in_features - of_cell, of_cell], dim=1)
        hidden = inner.of(unfolded_linear(features, of_latent, first.bias, feat_unfold))
        hidden = hidden.clone() if cell is None else hidden + linear_on_map(cell, of_cell)  # in one piece
        for layer in self.layers[1:]:
            is_linear = isinstance(layer, nn.Linear)
            hidden = linear_on_map(hidden, layer.weight, layer.bias) if is_linear else F.relu_(hidden)
        return hidden


@register("lmmlp")
class LMMLP(nn.Module):
    """Render MLP of LMF: `hidden_depth` layers x = relu((Wx + b) * (1 + scale) + shift), then one plain Linear.

    A modulation vector is [scale_0 .. scale_{D-1}, shift_0 .. shift_{D-1}], `hidden_dim` each; without `mod_scale` or
    `mod_shift` that half is left out.
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
        if not (mod_scale or mod_shift):
            raise InputError("an lmmlp needs mod_scale, mod_shift or both")
        self.hidden_dim = hidden_dim
        self.hidden_depth = hidden_depth
        self.mod_scale = mod_scale
        self.mod_shift = mod_shift
        self.mod_dim = hidden_dim * hidden_depth * (mod_scale + mod_shift)
        self.layers = linear_layers(in_dim, (hidden_dim for _ in range(hidden_depth)), out_dim)

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


def linear_on_map(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A Linear layer, weight (out, in), on every pixel: (B, in, h, w) -> (B, out, h, w)."""
    return F.conv2d(features, _known(weight[:, :, None, None]), bias)


def _known(kernel: Tensor) -> Tensor:
    """`kernel`; for an exported graph, in which a convolution's size has to be known, the numbers themselves."""
    return torch.from_numpy(kernel.detach().numpy().copy()) if is_exporting() else kernel


def unfolded(features: Tensor) -> Tensor:
    """Each pixel's 3x3 neighbourhood, zero padding, in the order of `F.unfold`: (B, c, h, w) -> (B, h, w, 9c)."""
    columns = F.unfold(features, 3, padding=1)  # (B, 9c, h * w)
    return columns.reshape(features.shape[0], -1, *features.shape[-2:]).permute(0, 2, 3, 1)


def unfolded_linear(features: Tensor, weight: Tensor, bias: Tensor | None = None, feat_unfold: bool = True) -> Tensor:
    """A Linear layer on each pixel's features, unfolded 3x3 (zero padding) or plain: (B, c, h, w) -> (B, out, h, w).

    `weight` is (out, 9c) in the order of `F.unfold(features, 3, padding=1)`, which is a 3x3 convolution's own, so the
    unfolded features need never exist; (out, c) when `feat_unfold` is false.
    """
    if not feat_unfold:
        return linear_on_map(features, weight, bias)
    kernel = _known(weight.unflatten(1, (-1, 3, 3))).contiguous(memory_format=torch.channels_last)
    return convolved(features, kernel, bias)
