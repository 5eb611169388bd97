"""Pictures of any channels through an upscaler: grey, transparency, the inks of print, the edges of warps."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.resampling.filters import CatmullRom, Filter, Nearest
from models.safeguards import LARGEST_PIXEL, TRANSITION, pixel_size, reduces_nowhere
from models.upscaler import MARGIN, Upscaler
from painting.plan import Plan, full_size
from painting.request import Request
from pictures.picture import Picture, PixelFormat
from pictures.tensors import Layers, colour_of
from utils.errors import InputError
from utils.geometry.grids import Grid, OutputGrid, Size
from utils.geometry.homographies import Homography
from utils.geometry.matrices import facing_matrix
from utils.geometry.neighbours import PixelWindow
from utils.geometry.sizes import is_enlarged

EXACT = 1e-5  # alpha and coverage nearer than this to 0 or 1 are that: far below half a level of 16 bits
PIXELS = 1 << 20  # looked at together
NEIGHBOURS = (0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)  # rows, columns; nearest first
Draw = Callable[[Upscaler, Tensor], Tensor]  # a picture (3, h, w) by an upscaler -> (3, H, W), on the CPU


def drawing(grid: OutputGrid | Size, queries: int | None = None, pixels: PixelWindow | None = None) -> Draw:
    """Draws on a grid, as `Upscaler.render`; the grid of a window by these LR `pixels` alone."""

    def draw(upscaler: Upscaler, picture: Tensor) -> Tensor:
        whole = pixels is None
        latent = upscaler.encode(picture) if whole else upscaler.encode_part(pixels.of(picture)[None], pixels)
        return upscaler.render(latent, grid, queries)[0].cpu()

    return draw


def paint(upscaler: Upscaler, layers: Layers, draw: Draw, draw_alpha: Draw | None = None) -> Layers:
    """The picture drawn; alpha by `draw_alpha` where that is another.

    Alpha is drawn with the filter that the model itself is, else with catmull-rom: alpha is a shape with flat regions,
    on which networks, which know photographs, ring and leave specks, while a filter keeps them exactly, at a tenth of
    the time. Colours continue below what is transparent, so that none of what is hidden there shows at the edges.
    """
    colour = layers.colour if layers.alpha is None else continued(layers.colour, layers.alpha)
    parts = [colour] if len(colour) == 1 else [colour[:3], *colour[3:, None]]
    drawn = [_draw_part(upscaler, part, draw) for part in parts]
    painted = drawn[0] if len(drawn) == 1 else torch.cat(drawn)
    if layers.alpha is None:
        return Layers(painted)
    if layers.alpha.min() == 1:
        return Layers(painted, torch.ones_like(painted[:1]))
    alpha = _draw_part(alpha_upscaler(upscaler), layers.alpha, draw_alpha or draw)
    return Layers(painted, torch.where(alpha < EXACT, 0, torch.where(alpha > 1 - EXACT, 1, alpha)))


def paint_part(upscaler: Upscaler, picture: Picture, grid: Grid, pixels: PixelWindow) -> Layers:
    """A picture on the grid of a window, painted from these LR pixels alone."""
    part = Layers.of(replace(picture, pixels=picture.pixels[pixels.rows, pixels.columns]))
    return paint(upscaler, part, lambda by, lr: by.render(by.encode_part(lr[None], pixels), grid)[0].cpu())


def whole_grid(request: Request, size: Size) -> OutputGrid:
    """The positions of the whole output of an (h, w) picture."""
    output = full_size(request, size)
    if not request.is_warp:
        return Grid.of_size(output)
    if request.homography is not None:
        return Homography(torch.tensor(request.homography, dtype=torch.float64)).grid(size, output)
    return Homography.rotation(request.rotate, size, output, request.scale or (1, 1)).grid(size, output)


REDUCING = Upscaler(CatmullRom().eval())


def drawing_upscaler(upscaler: Upscaler, grid: OutputGrid, size: Size) -> Upscaler:
    """What draws an (h, w) picture on a grid: the upscaler, or the filter that it leaves reducing to, for which nothing
    has to be encoded."""
    if upscaler.model.reduces:
        return upscaler
    if isinstance(grid, Grid):
        reduces = all(side <= n for side, n in zip(grid.full_size, size, strict=True))
    else:
        reduces = bool(pixel_size(grid, size).min() >= TRANSITION * LARGEST_PIXEL)
    return replace(REDUCING, device=upscaler.device, backend=upscaler.backend) if reduces else upscaler


def pixels_for(upscaler: Upscaler, grid: OutputGrid, size: Size) -> PixelWindow | None:
    """The LR pixels of an (h, w) picture from which the positions of a grid, of a window of an output, are painted as
    from all of them; None where the picture has to be encoded whole.

    It has to be for models that do not say how far they look, where networks reduce along an axis, and on warps for
    models that do not paint parts there.
    """
    context, margin = upscaler.context, MARGIN
    if context is None:
        return None
    if isinstance(grid, Grid):
        possible = upscaler.model.reduces or is_enlarged(size, grid.full_size)
        margin = math.ceil(MARGIN * max(1, *(n / side for n, side in zip(size, grid.full_size, strict=True))))
    else:
        possible = upscaler.model.warps_parts and reduces_nowhere(grid, size)
    return PixelWindow.around(size, grid.pixels(size), margin).grown(context) if possible else None


def drawn_on(grid: OutputGrid, draw: Callable[[OutputGrid], Layers]) -> tuple[Layers, Tensor | None]:
    """Draw on a grid; for a warp, also the share of each pixel (H, W) that lies inside the picture, for antialiased
    edges. Pixels whose centre is outside take a neighbour's colour; one more pixel is drawn on each side, so that
    parts of an output equal the whole."""
    if isinstance(grid, Grid):
        return draw(grid), None
    grown = grid.grown()
    layers, inside = draw(grown), grown.inside().numpy()
    covered = coverage(grown.homography.matrix.numpy(), grid.input_size, grown.size)
    for layer in (layers.colour, *([] if layers.alpha is None else [layers.alpha])):
        spread(layer.permute(1, 2, 0).numpy(), inside, covered)
    return layers.window(1, 1, grid.size), torch.from_numpy(covered[1:-1, 1:-1])


def filled(plan: Plan, layers: Layers, covered: Tensor | None = None) -> tuple[Layers, PixelFormat]:
    """Drawn layers as they are written, and their pixel format: what of a warp is not `covered` (H, W) is transparent
    or in the background's colour; without alpha where the format holds none."""
    if not layers.colour.isfinite().all():
        what = f"{plan.job.source}: model {plan.request.model} gives"
        raise InputError(f"{what} values that are no finite numbers; its weights are broken")
    pixel_format = plan.pixel_format
    if covered is not None and covered.min() < 1:
        if plan.request.is_transparent_warp:
            layers = with_outside(layers, covered, None)
            clear = PixelFormat(f"{pixel_format.colours}A", pixel_format.depth)
            pixel_format, _ = plan.job.form.pixel_format_for(clear)
        else:
            layers = with_outside(layers, covered, colour_of(plan.background, layers.colour))
    if layers.alpha is not None and not pixel_format.has_alpha:
        layers = layers.over(plan.background)
    return layers, pixel_format


def with_outside(layers: Layers, covered: Tensor, colour: Tensor | None) -> Layers:
    """Fill the uncovered part of each pixel with `colour` (C, 1, 1), or leave it transparent without one; `covered`
    (H, W) holds shares in [0, 1]."""
    if covered.min() == 1:
        return layers
    alpha = covered[None] if layers.alpha is None else layers.alpha * covered
    if colour is None:
        return replace(layers, alpha=alpha)
    if layers.alpha is None:
        return Layers(torch.lerp(colour, layers.colour, covered))
    opaque = alpha + (1 - covered)
    mixed = (layers.colour * alpha + colour * (1 - covered)) / opaque.clamp(min=1e-6)
    return Layers(torch.where(covered == 1, layers.colour, mixed), opaque)


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


def _draw_part(upscaler: Upscaler, part: Tensor, draw: Draw) -> Tensor:
    """Draw RGB (3, h, w), or one channel (1, h, w), which stays one: the upscaler keeps grey grey."""
    return draw(upscaler, part.expand(3, -1, -1))[: len(part)]


def alpha_upscaler(upscaler: Upscaler) -> Upscaler:
    """The upscaler that draws alpha beside an upscaler of colours, see `paint`."""
    if isinstance(upscaler.model, Filter | Nearest):
        return upscaler
    backend = "auto" if upscaler.backend == "native" else upscaler.backend  # what the filter may not have
    return Upscaler(CatmullRom().eval(), device=upscaler.device, backend=backend)


def coverage(matrix: np.ndarray, input_size: Size, size: Size) -> np.ndarray:
    """The share of each pixel of an output (H, W) that lies inside an (h, w) picture under the homography (3, 3):
    (H, W) float32 in [0, 1], within 0.05 at edges.

    A homography maps the picture's four edges to lines; what lies on one side of a line follows from its distance to
    the pixel's centre, and corners are products of two shares.
    """
    x, y, w = np.linalg.inv(facing_matrix(matrix, input_size))
    lines = np.stack([x + w / 2, (input_size[1] - 0.5) * w - x, y + w / 2, (input_size[0] - 0.5) * w - y])
    lines /= np.maximum(np.hypot(lines[:, 0], lines[:, 1]), 1e-300)[:, None]  # distances in output pixels, inside > 0
    covered, columns, step = np.empty(size, np.float32), np.arange(size[1]), max(1, PIXELS // size[1])
    for top in range(0, size[0], step):
        rows = np.arange(top, min(top + step, size[0]))[:, None]
        left, right, above, below = (np.clip(a * columns + (b * rows + (c + 0.5)), 0, 1) for a, b, c in lines)
        covered[top : top + step] = np.maximum(left + right - 1, 0) * np.maximum(above + below - 1, 0)
    covered[covered < EXACT] = 0
    covered[covered > 1 - EXACT] = 1
    return covered


def spread(pixels: np.ndarray, inside: np.ndarray, covered: np.ndarray) -> None:
    """Give pixels (H, W, C) that are `covered` (H, W) in part, whose centre is not `inside`, a neighbour's colour."""
    row, column = np.nonzero((covered > 0) & ~inside)
    left = np.ones(len(row), bool)
    for down, across in NEIGHBOURS:
        y, x = row + down, column + across
        there = left & (y >= 0) & (y < inside.shape[0]) & (x >= 0) & (x < inside.shape[1])
        there[there] = inside[y[there], x[there]]
        pixels[row[there], column[there]] = pixels[y[there], x[there]]
        left &= ~there
