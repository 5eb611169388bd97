"""Convolutions of encoders: PyTorch's, or on the CPU without gradients Winograd's minimal filtering, which takes a
quarter of the multiplications (`models.native.convolution`).

Winograd's sums of a tile of 4x4 pixels are rounded together. So that a part of a picture is convolved to the same bits
as the whole, tiles lie in the same places of the whole picture wherever the part is cut (`cut_at`), and a part needs
more pixels around it than features depend on (`margin`).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import native, precision
from models.layers.exporting import is_exporting
from models.native.calls import Library
from models.native.convolution import TILE, convolve

LEAST_CHANNELS = 16  # of inputs and of outputs: PyTorch is as fast with fewer

_cut = ContextVar("cut", default=(0, 0))


@contextmanager
def cut_at(top: int, left: int) -> Iterator[None]:
    """Within the block, pictures are parts that begin at this row and column of those outside it."""
    outer = _cut.get()
    token = _cut.set((outer[0] + top, outer[1] + left))
    try:
        yield
    finally:
        _cut.reset(token)


class Convolution(nn.Conv2d):
    """A convolution that keeps the size, zero padding: (B, in, h, w) -> (B, out, h, w); `kernel_size` is odd.

    Tiles of one that is `staggered` lie half a tile beside those of others: where such layers alternate, a cut through
    the picture reaches two pixels per layer, instead of four.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, staggered: bool = False):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.staggered = staggered

    def forward(self, x: Tensor, relu: bool = False, skip: Tensor | None = None, scale: float = 1.0) -> Tensor:
        """relu(convolution), and with `skip` (B, out, h, w) that * scale + skip."""
        library = self.library(x, skip)
        if library is not None:
            first = tuple((TILE // 2 if self.staggered else 0) - cut for cut in _cut.get())
            skip = None if skip is None else skip.float()
            options = {"relu": relu, "skip": skip, "scale": scale, "bfloat16": _in_bfloat16()}
            return convolve(library, x.float(), self.weight, self.bias, origin=first, **options)
        x = super().forward(x)
        x = F.relu_(x) if relu else x
        return x if skip is None else torch.add(skip, x, alpha=scale)

    def library(self, *pictures: Tensor | None) -> Library | None:
        """The native routines, where they can take this layer (and pictures); None: PyTorch computes."""
        small = min(self.in_channels, self.out_channels) < LEAST_CHANNELS
        if small or self.kernel_size != (3, 3) or is_exporting() or torch.compiler.is_compiling():
            return None
        rounded = [x for x in pictures if x is not None and not (_in_bfloat16() and x.dtype == torch.bfloat16)]
        library = native.choose("convolution", *rounded, self.weight, self.bias)
        return library if library is None or not _in_bfloat16() or multiplies_bfloat16(library) else None


def in_turn(layers: Iterable[nn.Module], x: Tensor, skip: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """The layers one after the other, and with `skip` the result * scale + skip; convolutions do what follows them in
    one pass."""
    rest = list(layers)
    while rest:
        layer = rest.pop(0)
        if not isinstance(layer, Convolution):
            x = layer(x)
            continue
        relu = bool(rest) and isinstance(rest[0], nn.ReLU)
        rest = rest[relu:]
        if not rest and skip is not None:
            return layer(x, relu, skip, scale)
        x = layer(x, relu)
    return x if skip is None else torch.add(skip, x, alpha=scale)


def margin(encoder: nn.Module) -> int | None:
    """How many pixels around a part decide, to the last bit, what an encoder's features of it are; None: all may.

    An encoder's `reach` says what they depend on. Where tiles are rounded together, a cut reaches a tile at first and
    half a one with each further layer.
    """
    reach = getattr(encoder, "reach", None)
    if reach is None:
        return None
    with precision.reduced(torch.device("cpu")):
        tiled = any(isinstance(layer, Convolution) and layer.library() is not None for layer in encoder.modules())
    return TILE // 2 * (reach + 1) if tiled else reach


def multiplies_bfloat16(library: Library) -> bool:
    """Whether the routines do so faster than PyTorch: without AMX, which only PyTorch uses."""
    return "convolve_bfloat16" in library.routines and not torch.cpu._is_amx_tile_supported()


def _in_bfloat16() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
