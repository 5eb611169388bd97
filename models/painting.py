"""Pictures of any channels through an upscaler: grey, transparency, the inks of print."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from models.resampling.filters import CatmullRom, Filter, Nearest
from models.upscaler import Upscaler
from utils.geometry.grids import Size
from utils.geometry.homographies import Homography
from utils.pictures.picture import Kind
from utils.pictures.tensors import Layers

EXACT = 1e-5  # alpha nearer than this to 0 or 1 is that: far below half a level of 16 bits
FLOAT, PILLOW_PIXEL, INPUT_PIXEL = 4, 4, 1000  # bytes
# An upscaler and a picture (3, h, w) -> the picture (3, H, W) on the CPU, and what of it lies inside, None for all
Draw = Callable[[Upscaler, Tensor], tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class Upright:
    """Draws at another `size` (H, W); with `queries` as in `Upscaler.render`."""

    size: Size
    queries: int | None = None

    def __call__(self, upscaler: Upscaler, picture: Tensor) -> tuple[Tensor, None]:
        return upscaler.render(upscaler.encode(picture), self.size, self.queries)[0].cpu(), None


@dataclass(frozen=True)
class Warped:
    """Draws under a homography, into a picture of `size` (H, W)."""

    homography: Homography
    size: Size

    def __call__(self, upscaler: Upscaler, picture: Tensor) -> tuple[Tensor, Tensor]:
        warped, inside = upscaler.warp(upscaler.encode(picture), self.homography, self.size)
        return warped[0].cpu(), inside


def paint(upscaler: Upscaler, layers: Layers, draw: Draw, draw_alpha: Draw | None = None) -> tuple[Layers, Tensor]:
    """The picture drawn, and which of its pixels lie inside, (H, W) bool; the others are black and transparent.

    Alpha is drawn, by `draw_alpha` where that is another, with the filter that is the model itself, else with
    catmull-rom: alpha is a shape with flat regions, on which networks, which know photographs, ring and leave specks,
    while a filter keeps them exactly, at a tenth of the time. Colours continue below what is transparent, so that none
    of what is hidden there shows at the edges.
    """
    colour = layers.colour if layers.alpha is None else continued(layers.colour, layers.alpha)
    parts = [colour] if len(colour) == 1 else [colour[:3], *colour[3:, None]]
    drawn = [_draw_part(upscaler, part, draw) for part in parts]
    painted = drawn[0][0] if len(drawn) == 1 else torch.cat([picture for picture, _ in drawn])
    inside = drawn[0][1]
    if inside is None:
        inside = torch.ones(painted.shape[1:], dtype=torch.bool)
    alpha = layers.alpha
    if alpha is not None and (alpha == 1).all():
        alpha = inside[None].float()
    elif alpha is not None:
        alpha, _ = _draw_part(_alpha_upscaler(upscaler), alpha, draw_alpha or draw)
        alpha = torch.where(alpha < EXACT, 0, torch.where(alpha > 1 - EXACT, 1, alpha))
    return Layers(painted, alpha), inside


def with_outside(layers: Layers, inside: Tensor, colour: Tensor | None) -> Layers:
    """What is not `inside` (H, W) in `colour` (C, 1, 1), opaque, or transparent; unchanged where everything is."""
    if inside.all():
        return layers
    if colour is None:
        return replace(layers, alpha=inside[None].float() if layers.alpha is None else layers.alpha * inside)
    alpha = layers.alpha if layers.alpha is None else layers.alpha.masked_fill(~inside, 1)
    return Layers(torch.where(inside, layers.colour, colour), alpha)


def needed_memory(input_size: Size, size: Size, kind: Kind) -> int:
    """Bytes that painting a picture of `input_size` at `size` takes, and writing it as `kind`, about.

    Networks differ in what they hold of an input pixel; what counts where memory ends is the output.
    """
    drawn = 3 * FLOAT * (2 if kind.has_alpha or kind.channels == "CMYK" else 1)
    written = len(kind.channels) * kind.depth // 8 * 2 + PILLOW_PIXEL
    return size[0] * size[1] * (drawn + written) + input_size[0] * input_size[1] * INPUT_PIXEL


def continued(colour: Tensor, alpha: Tensor) -> Tensor:
    """`colour` (C, h, w), where `alpha` (1, h, w) is 0 as the colours around: means of ever larger regions."""
    if alpha.all() or not alpha.any():
        return colour
    pyramid = [torch.cat([colour * alpha, alpha])]
    while max(pyramid[-1].shape[1:]) > 1:
        pyramid.append(F.avg_pool2d(pyramid[-1], 3, stride=2, padding=1))
    filled = pyramid[-1][:-1] / pyramid[-1][-1:]
    for level in reversed(pyramid[:-1]):
        filled = F.interpolate(filled[None], level.shape[1:], mode="bilinear", align_corners=False)[0]
        weight = level[-1:]
        filled = torch.where(weight > 0, level[:-1] / weight, filled)
    return torch.where(alpha > 0, colour, filled)


def _draw_part(upscaler: Upscaler, part: Tensor, draw: Draw) -> tuple[Tensor, Tensor | None]:
    """Draw RGB (3, h, w), or one channel (1, h, w), which stays one."""
    picture, inside = draw(upscaler, part.expand(3, -1, -1))
    return (picture if len(part) == 3 else picture.mean(0, keepdim=True)), inside


def _alpha_upscaler(upscaler: Upscaler) -> Upscaler:
    if isinstance(upscaler.model, Filter | Nearest):
        return upscaler
    return Upscaler(CatmullRom().eval(), device=upscaler.device, backend=upscaler.backend)
