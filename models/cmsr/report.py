"""Savings and losses of CMSR on a picture, in figures and as a map of scales."""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.cmsr.rendering import ControlledPicture, Level, render_controlled
from models.cmsr.tables import ScaleTable
from models.upscaler import Upscaler
from utils.geometry.grids import Grid, Size, sample_nearest

FULL_UP_TO = 4
VIRIDIS = "440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 fde725"  # cheap to expensive, also for colour-blind eyes
COLOURS = np.array([list(bytes.fromhex(colour)) for colour in VIRIDIS.split()], np.uint8)  # (8, 3) RGB


def colours_of(count: int) -> np.ndarray:
    """(count, 3) uint8 colours, spread over the whole range."""
    return COLOURS[np.linspace(0, len(COLOURS) - 1, count).round().astype(int)] if count > 1 else COLOURS[-1:]


def level_map(controlled: ControlledPicture, size: Size) -> np.ndarray:
    """(H, W, 3) uint8: the colour of the scale at which each position was rendered."""
    coord = Grid.of_size(size).coord().flatten(0, 1)[None]
    level = sample_nearest(controlled.level[None, ..., None], coord)[0, :, 0].unflatten(0, size)
    return colours_of(len(controlled.scales))[level.numpy()]


def map_legend(controlled: ControlledPicture) -> str:
    """The colour of each scale, and its share of the picture."""
    shares = [(controlled.level == number).float().mean().item() for number in range(len(controlled.scales))]
    colours = colours_of(len(controlled.scales))
    entries = zip(controlled.scales, colours, shares, strict=True)
    return ", ".join(f"x{scale:g} #{r:02x}{g:02x}{b:02x} {share:.0%}" for scale, (r, g, b), share in entries)


@dataclass(frozen=True)
class ControlReport:
    """Savings and losses of CMSR on one picture; `picture` and, if asked for, `full` are (3, H, W) in [0, 1]."""

    scale: float
    picture: Tensor
    controlled: ControlledPicture
    seconds: float
    full: Tensor | None = None
    full_seconds: float | None = None

    def figures(self) -> dict[str, float]:
        """Share of the queries, time of the decoder against full rendering, and PSNR in dB between both."""
        return {
            "share": self.controlled.share,
            "decoder_seconds": self.seconds,
            "decoder_seconds_full": self.full_seconds,
            "psnr_to_full": -10 * torch.log10((self.picture - self.full).double().square().mean()).item(),
        }

    def __str__(self) -> str:
        if self.full is None:
            return f"CMSR: {self.controlled.share:.1%} of the queries, decoder {self.seconds:.2f} s"
        share, seconds, full_seconds, psnr_to_full = self.figures().values()
        times = f"decoder {seconds:.2f} s instead of {full_seconds:.2f} s"
        return f"CMSR: {share:.1%} of the queries, {times}, PSNR between both {psnr_to_full:.2f} dB"


def control(
    upscaler: Upscaler, lr: Tensor, size: Size, table: ScaleTable, above: float | None, compare: bool = True
) -> ControlReport:
    """Render `lr` (3, h, w) in [0, 1] at `size` with CMSR, up to the scale `above` (None: FULL_UP_TO) in full, and to
    `compare` without."""
    latent = upscaler.encode(lr)
    scale = max(n / m for n, m in zip(size, lr.shape[-2:], strict=True))
    levels = table.levels_for(scale) if scale > (FULL_UP_TO if above is None else above) else (Level(scale, 1.0),)
    started = time.perf_counter()
    controlled = render_controlled(upscaler, latent, size, levels, table.measure, table.truncates)
    picture = controlled.picture.cpu()
    rendered = time.perf_counter()
    report = ControlReport(scale, picture, controlled, rendered - started)
    if not compare:
        return report
    full = upscaler.render(latent, size)[0].cpu()
    return replace(report, full=full, full_seconds=time.perf_counter() - rendered)
