"""Measuring models against target pictures: what validation during training and test.py share."""

from collections.abc import Mapping

from torch import Tensor

from evaluation.metrics import Metric
from evaluation.protocols import Protocol
from models.upscaler import Upscaler
from utils.errors import InputError
from utils.geometry.homographies import Homography
from utils.geometry.sizes import Scale, scale_text

WARP_FRAME = 4  # LR pixels


def measure_pair(
    upscaler: Upscaler,
    lr: Tensor,
    hr: Tensor,
    protocol: Protocol,
    scale: Scale | None = None,
    queries: int | None = None,
    metrics: Mapping[str, Metric] | None = None,
) -> tuple[dict[str, float], Tensor]:
    """Render `lr` (3, h, w) at the size of `hr` (3, H, W), both in [0, 1]: `metrics` and the picture (3, H, W).

    `scale` (height, width) sets the protocol's shave where it is not the ratio of the sizes; `queries` as in
    `Upscaler.render`.
    """
    size = tuple(hr.shape[-2:])
    ratios = tuple(n / m for n, m in zip(size, lr.shape[-2:], strict=True))
    deviation = max(abs(ratio / factor - 1) for ratio, factor in zip(ratios, scale or ratios, strict=True))
    if deviation > 0.1 + 1 / min(lr.shape[-2:]):
        sizes = f"LR is {lr.shape[-1]}x{lr.shape[-2]}, HR {size[1]}x{size[0]}"
        raise InputError(f"the LR pictures do not fit the scale {scale_text(scale)}: {sizes}")
    picture = upscaler.render(upscaler.encode(lr), size, queries)[0]
    return protocol.measure(picture, hr, scale or ratios, metrics), picture.cpu()


def measure_warp(
    upscaler: Upscaler, lr: Tensor, hr: Tensor, homography: Homography, protocol: Protocol
) -> tuple[dict[str, float], Tensor]:
    """Warp `lr` (3, h, w) to the size of `hr` (3, H, W), both in [0, 1], without antialiasing, as published: metrics
    over what lies WARP_FRAME LR pixels inside, and the picture (3, H, W)."""
    input_size, size = tuple(lr.shape[-2:]), tuple(hr.shape[-2:])
    picture = upscaler(lr, homography.grid(input_size, size, antialias=False))[0].cpu()
    return protocol.measure_warped(picture, hr, homography.interior(input_size, size, WARP_FRAME)), picture
