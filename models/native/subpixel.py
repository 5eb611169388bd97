"""The sub-pixel picture on the CPU (subpixel.cpp), read at a grid of positions."""

import torch
from torch import Tensor

from models.native.calls import Library, address, check_shape

TAPS = 4


def paint(
    library: Library,
    details: Tensor,
    image: Tensor,
    factor: int,
    taps: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]],
    output: Tensor,
) -> None:
    """Fill `output` (B, C, H, W), of any strides: weighted sums of 4 x 4 pixels of the enlarged picture.

    That is `F.pixel_shuffle(details, factor)`, `details` (B, C * factor * factor, h, w), plus the bilinearly enlarged
    `image` (B, C, h + 2, w + 2), which has a pixel more on each side. `taps` are for rows and columns which pixels of
    the enlarged picture count, (4, H) and (4, W) int32, and their weights, float32. ValueError for tensors of another
    shape or type, and for pixels outside.
    """
    batch, channels, height, width = image.shape
    height, width = height - 2, width - 2
    check_shape("details", details, (batch, channels * factor**2, height, width))
    axes = []
    for (index, weight), length in zip(taps, output.shape[2:], strict=True):
        check_shape("taps", index, (TAPS, length))
        check_shape("weights of taps", weight, (TAPS, length))
        axes += [index, weight, length]
    check_shape("the output", output, (batch, channels, None, None))
    strides = torch.tensor(output.stride(), dtype=torch.int64, device="cpu")
    place = address(output, torch.float32, strided=True)
    sizes = batch, channels, height, width, factor
    library.call("subpixel_paint", details, image, *sizes, *axes, place, strides, torch.get_num_threads())
