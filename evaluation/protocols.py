"""Protocols: on which pixels and channels metrics are measured."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from evaluation.metrics import Metric, make_metrics
from pictures.similarity import EXACT, psnr
from utils.errors import InputError, nearest_name

LUMA_BT601 = (65.738, 129.057, 25.064)  # of RGB in [0, 1], in 1/256 of full scale (EDSR's benchmark code)


def luma(picture: Tensor) -> Tensor:
    """(..., 3, H, W) RGB in [0, 1] -> (..., 1, H, W) luma of BT.601, 16/256 to 235/256."""
    weights = picture.new_tensor(LUMA_BT601) / 256
    return 16 / 256 + (picture * weights[:, None, None]).sum(-3, keepdim=True)


@dataclass(frozen=True)
class Protocol:
    """The pixels and channels that count.

    `shave(scale)` pixels are cut from each side (for SSIM, too, unless `ssim_whole`), `luma` compares brightness only;
    values are compared as they are (`quantised` false) or rounded to 8 bits first.
    """

    name: str
    description: str
    shave: Callable[[float], int]
    luma: bool = False
    quantised: bool = False
    ssim_whole: bool = False

    def measure(
        self,
        picture: Tensor,
        target: Tensor,
        scale: tuple[float, float],
        metrics: Mapping[str, Metric] | None = None,
    ) -> dict[str, float]:
        """The `metrics` (default: PSNR and SSIM) of two (3, H, W) pictures in [0, 1]; `scale` (height, width) sets the
        shave. Metrics that are networks compute where `picture` is."""
        device, compared = picture.device, (self.values(picture.cpu()), self.values(target.cpu()))
        whole = tuple(map(luma, compared)) if self.luma else compared
        shave = self.shave(max(scale))
        if 2 * shave >= min(picture.shape[-2:]):
            height, width = picture.shape[-2:]
            raise InputError(
                f"a picture of {width}x{height} is too small for protocol '{self.name}': it cuts {shave} pixels a side"
            )
        inner = tuple(x[..., shave : x.shape[-2] - shave, shave : x.shape[-1] - shave] for x in whole)
        scores = {}
        for name, metric in (make_metrics() if metrics is None else metrics).items():
            pair = compared if metric.whole_rgb else whole if self.ssim_whole and name == "ssim" else inner
            scores[name] = metric(*(x.to(device) for x in pair) if metric.network else pair)
        return scores

    def measure_warped(self, picture: Tensor, target: Tensor, mask: Tensor) -> dict[str, float]:
        """`mpsnr` in dB of two (3, H, W) pictures in [0, 1], over RGB where `mask` (H, W) is true; InputError where it
        nowhere is."""
        if not mask.any():
            raise InputError(f"protocol '{self.name}': no pixel is far enough inside the picture to be measured")
        return {"mpsnr": min(psnr(self.values(picture)[:, mask], self.values(target)[:, mask]), EXACT)}

    @property
    def warp_description(self) -> str:
        """As `description`, for `measure_warped`."""
        return f"RGB inside a frame of LR pixels, {'8-bit' if self.quantised else 'not quantised'}"

    def values(self, picture: Tensor) -> Tensor:
        """A picture clipped to [0, 1] and, if quantised, rounded to 8 bits."""
        picture = picture.clamp(0, 1)
        return (picture * 255).round() / 255 if self.quantised else picture


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("rgb", "RGB, no shave, not quantised", shave=lambda scale: 0),
        Protocol("div2k", "RGB, shave scale + 6, not quantised", shave=lambda scale: math.ceil(scale) + 6),
        Protocol("benchmark", "luma BT.601, shave scale, not quantised", shave=math.ceil, luma=True),
        Protocol("benchmark-8bit", "luma BT.601, shave scale, 8-bit", shave=math.ceil, luma=True, quantised=True),
        Protocol(
            "lerf",
            "luma BT.601, shave whole part of the scale (not for SSIM), 8-bit",
            shave=int,
            luma=True,
            quantised=True,
            ssim_whole=True,
        ),
    )
}


def find_protocol(name: str | None) -> Protocol:
    """The protocol of a name; None means `rgb`. InputError for an unknown one."""
    if name is None:
        return PROTOCOLS["rgb"]
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol '{name}'; {nearest_name(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def parse_eval_type(eval_type: str | None) -> tuple[Protocol, float | None]:
    """The authors' `eval_type` (`div2k-4`, `benchmark-2`, none) -> protocol and the scale it names."""
    named = re.fullmatch(r"(.*)-(\d+(?:\.\d+)?)", eval_type or "")
    return (find_protocol(named[1]), float(named[2])) if named else (find_protocol(eval_type), None)
