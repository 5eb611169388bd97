"""Convolutions of feature maps: PyTorch's, or on the CPU without gradients Winograd's minimal filtering, which takes a
quarter of the multiplications (`models.native.convolution`).
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.computing import is_exporting
from models.native import backends
from models.native.calls import Library
from models.native.convolution import convolve

LEAST_CHANNELS = 16  # of inputs and of outputs: PyTorch is as fast with fewer


def convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    slope: float = 1.0,
    skip: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """Convolution that keeps the size, zero padding, times `slope` where negative (1: nothing, 0: ReLU), and with
    `skip` (B, out, h, w) that * scale + skip: (B, in, h, w) -> (B, out, h, w).

    `weight` is (out, in, k, k), k odd, `bias` (out,). InputError where backend "native" was asked for and the tensors
    do not allow it.
    """
    library = native_library(weight, bias, x, skip)
    if library is not None:
        skip = None if skip is None else skip.float()
        options = {"slope": slope, "skip": skip, "scale": scale, "bfloat16": _in_bfloat16()}
        return convolve(library, x.float(), weight, bias, **options)
    x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
    if slope != 1:
        x = F.leaky_relu_(x, slope) if slope else F.relu_(x)
    return x if skip is None else torch.add(skip, x, alpha=scale)


def native_library(weight: Tensor, bias: Tensor | None, *pictures: Tensor | None) -> Library | None:
    """The native routines, where they can convolve with such a weight (and pictures); None: PyTorch does."""
    small = min(weight.shape[:2]) < LEAST_CHANNELS
    if small or weight.shape[2:] != (3, 3) or is_exporting() or torch.compiler.is_compiling():
        return None
    rounded = [x for x in pictures if x is not None and not (_in_bfloat16() and x.dtype == torch.bfloat16)]
    library = backends.choose("convolution", *rounded, weight, bias)
    return library if library is None or not _in_bfloat16() or multiplies_bfloat16(library) else None


class Convolution(nn.Conv2d):
    """`convolved` with a weight and a bias of its own: (B, in_channels, h, w) -> (B, out_channels, h, w)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor, slope: float = 1.0, skip: Tensor | None = None, scale: float = 1.0) -> Tensor:
        return convolved(x, self.weight, self.bias, slope=slope, skip=skip, scale=scale)


def in_turn(layers: Iterable[nn.Module], x: Tensor, skip: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """The layers one after the other, and with `skip` the result * scale + skip; convolutions do what follows them in
    one pass."""
    rest = list(layers)
    while rest:
        layer = rest.pop(0)
        if not isinstance(layer, Convolution):
            x = layer(x)
            continue
        slope = 1.0
        if rest and isinstance(rest[0], (nn.ReLU, nn.LeakyReLU)):
            slope = getattr(rest.pop(0), "negative_slope", 0.0)
        if not rest and skip is not None:
            return layer(x, slope, skip, scale)
        x = layer(x, slope)
    return x if skip is None else torch.add(skip, x, alpha=scale)


def pad_to_multiple(features: Tensor, multiple: int) -> Tensor:
    """(B, C, h, w) -> (B, C, H, W), multiples of `multiple`: reflected below and to the right.

    A map that is too small for that is reflected whole, and then its last row or column is replicated.
    """
    pads = [-n % multiple for n in features.shape[2:]]
    if is_exporting():  # for pictures of at least `multiple`
        return F.pad(features, (0, pads[1], 0, pads[0]), mode="reflect")
    below, right = (min(pad, n - 1) for pad, n in zip(pads, features.shape[2:], strict=True))
    features = F.pad(features, (0, right, 0, below), mode="reflect")
    return F.pad(features, (0, pads[1] - right, 0, pads[0] - below), mode="replicate")


def multiplies_bfloat16(library: Library) -> bool:
    """Whether the routines do so faster than PyTorch: without AMX, which only PyTorch uses."""
    return "convolve_bfloat16" in library.routines and not torch.cpu._is_amx_tile_supported()


def _in_bfloat16() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
