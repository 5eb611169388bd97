"""Convolutions of 3x3 weights on the CPU (convolution.cpp): tensors in, a new tensor out."""

import torch
from torch import Tensor

from models.native.calls import Library, address, check_shape

TILE = 4  # output pixels along an axis that are computed together
PLACES = 36  # products for each tile, input and output
OUTPUTS_TOGETHER = 16
LEAST_WORK = 1 << 21  # multiply-adds for a thread of its own


def lay_out(library: Library, weight: Tensor, bfloat16: bool = False) -> Tensor:
    """Weights (out, in, 3, 3), in any memory format, as `convolve` reads them; ValueError for another shape or type."""
    check_shape("weights", weight, (None, None, 3, 3))
    outputs, inputs = weight.shape[:2]
    padded = -(-outputs // OUTPUTS_TOGETHER) * OUTPUTS_TOGETHER
    if bfloat16:
        name, laid_out = "lay_out_bfloat16", torch.empty(PLACES, -(-inputs // 2), padded, dtype=torch.int32)
    else:
        name, laid_out = "lay_out", torch.empty(PLACES, inputs, padded)
    strides = torch.tensor(weight.stride(), dtype=torch.int64)
    place = address(weight, torch.float32, strided=True)
    library.call(name, place, strides, outputs, inputs, laid_out, torch.get_num_threads())
    return laid_out


def convolve(
    library: Library,
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    slope: float = 1.0,
    skip: Tensor | None = None,
    scale: float = 1.0,
    bfloat16: bool = False,
) -> Tensor:
    """Convolution + bias, times `slope` where that is negative (1: nothing, 0: ReLU), and with `skip` that * scale +
    skip: (B, in, h, w) -> (B, out, h, w), channels last.

    `weight` (out, in, 3, 3), `bias` (out,), `skip` (B, out, h, w), all float32 on the CPU, in any memory format; zero
    padding. Products are float32, or `bfloat16` where the library has such a routine. Tiles of 4x4 pixels are rounded
    together: a part of a picture equals the whole up to rounding. NaN and infinity become NaN in all of a tile that
    reads them.

    ValueError for other shapes and types.
    """
    check_shape("a picture", image, (None, weight.shape[1], None, None))
    batch, inputs, height, width = image.shape
    outputs = len(weight)
    if bias is not None:
        check_shape("a bias", bias, (outputs,))
    if skip is not None:
        check_shape("what is added", skip, (batch, outputs, height, width))
        skip = in_last(skip)
    output = image.new_empty(batch, height, width, outputs)
    work = output.numel() * inputs * 9
    threads = max(1, min(torch.get_num_threads(), work // LEAST_WORK))
    library.call(
        "convolve_bfloat16" if bfloat16 else "convolve",
        in_last(image),
        lay_out(library, weight, bfloat16),
        None if bias is None else bias.contiguous(),
        skip,
        output,
        *(batch, height, width, inputs, outputs),
        slope,
        scale,
        threads,
    )
    return output.permute(0, 3, 1, 2)


def in_last(image: Tensor) -> Tensor:
    """(B, C, h, w) in any memory format -> (B, h, w, C), contiguous."""
    return image.permute(0, 2, 3, 1).contiguous()
