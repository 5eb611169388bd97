"""Multi-layer perceptron, applied to the last axis of a tensor or to the pixels of a feature map."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.convolution import convolved
from models.layers.exporting import is_exporting
from models.registry import register
from utils.config import Count


@register("mlp")
class MLP(nn.Module):
    """Linear and ReLU layers in turn, (..., in_dim) -> (..., out_dim); Linear layers are `layers.0`, `layers.2`, ..."""

    def __init__(self, in_dim: Count, out_dim: Count, hidden_list: Sequence[Count]):
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden_list:
            layers += [nn.Linear(in_dim, width), nn.ReLU()]
            in_dim = width
        self.layers = nn.Sequential(*layers, nn.Linear(in_dim, out_dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def after_first(self, hidden: Tensor) -> Tensor:
        """The rest of the network on the first layer's output before its ReLU, (..., hidden) -> (..., out_dim)."""
        return self.layers[1:](hidden)

    def after_first_on_map(self, hidden: Tensor) -> Tensor:
        """`after_first` for a feature map, (B, hidden, h, w), which is overwritten -> (B, out_dim, h, w)."""
        for layer in self.layers[1:]:
            is_linear = isinstance(layer, nn.Linear)
            hidden = linear_on_map(hidden, layer.weight, layer.bias) if is_linear else F.relu_(hidden)
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
