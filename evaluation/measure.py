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
    picture = rendered(upscaler, lr, hr, scale, queries)
    return protocol.measure(picture, hr, scale or ratios(lr, hr), metrics), picture.cpu()


def ratios(lr: Tensor, hr: Tensor) -> Scale:
    """Scale (height, width) from `lr` (3, h, w) to `hr` (3, H, W)."""
    height, width = (n / m for n, m in zip(hr.shape[-2:], lr.shape[-2:], strict=True))
    return height, width


def rendered(upscaler: Upscaler, lr: Tensor, hr: Tensor, scale: Scale | None, queries: int | None) -> Tensor:
    """`lr` (3, h, w) at the size of `hr`, (3, H, W) where the model is; InputError when that is not this `scale`."""
    found = ratios(lr, hr)
    deviation = max(abs(ratio / factor - 1) for ratio, factor in zip(found, scale or found, strict=True))
    if deviation > 0.1 + 1 / min(lr.shape[-2:]):
        sizes = f"LR is {lr.shape[-1]}x{lr.shape[-2]}, HR {hr.shape[-1]}x{hr.shape[-2]}"
        raise InputError(f"the LR pictures do not fit the scale {scale_text(scale)}: {sizes}")
    return upscaler.render(upscaler.encode(lr), tuple(hr.shape[-2:]), queries)[0]


def warped(upscaler: Upscaler, lr: Tensor, hr: Tensor, homography: Homography) -> Tensor:
    """`lr` (3, h, w) warped to the size of `hr`, (3, H, W) on the CPU, without antialiasing, as published."""
    return upscaler(lr, homography.grid(tuple(lr.shape[-2:]), tuple(hr.shape[-2:]), antialias=False))[0].cpu()


def measure_warped(
    picture: Tensor, lr: Tensor, hr: Tensor, homography: Homography, protocol: Protocol
) -> dict[str, float]:
    """Metrics of a `picture` (3, H, W), warped from `lr` (3, h, w), over what lies WARP_FRAME LR pixels inside."""
    inside = homography.interior(tuple(lr.shape[-2:]), tuple(hr.shape[-2:]), WARP_FRAME)
    return protocol.measure_warped(picture, hr, inside)
