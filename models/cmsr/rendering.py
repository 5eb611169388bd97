"""CMSR (LMF, CVPR 2024): controllable multi-scale rendering, which renders easy regions at a lower scale.

One of MEASURES says how easy an LR pixel is; thresholds say up to which value a lower scale will do. A picture is then
rendered level by level, each enlarged bilinearly and overwritten where more is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.continuous import Latent
from models.decoders.lmf import LMFDecoder, ModulatedField
from models.upscaler import Upscaler
from utils.geometry.grids import Grid, Size, pixel_index


@dataclass(frozen=True)
class Level:
    """Render LR pixels whose measure is up to `threshold` at `scale`."""

    scale: float
    threshold: float


@dataclass(frozen=True)
class ControlledPicture:
    """A picture (3, H, W) in [0, 1]; the `level` (h, w) at which each LR pixel was rendered, an index of `scales`; and
    how many `queries` were evaluated, of how many in `full` rendering."""

    picture: Tensor
    level: Tensor
    scales: tuple[float, ...]
    queries: int
    full: int

    @property
    def share(self) -> float:
        """Share of queries evaluated; above 1 where control costs more than it saves."""
        return self.queries / self.full


def curvature(model: LMFDecoder, field: ModulatedField, image: Tensor) -> Tensor:
    """The largest second difference of the LR picture within 3x3 pixels, (B, h, w), by which interpolation errs."""
    p = F.pad(image, (1, 1, 1, 1), mode="replicate")
    along_x = p[..., 1:-1, :-2] + p[..., 1:-1, 2:] - 2 * image
    along_y = p[..., :-2, 1:-1] + p[..., 2:, 1:-1] - 2 * image
    across = (p[..., :-2, :-2] + p[..., 2:, 2:] - p[..., :-2, 2:] - p[..., 2:, :-2]) / 2
    largest = torch.stack([along_x, along_y, across]).abs().amax((0, 2))  # (B, h, w)
    return F.max_pool2d(largest[:, None], 3, stride=1, padding=1)[:, 0] / 2


# The published measure, and ours, which spends fewer queries at the same loss (see the README).
MEASURES = {"intensity": lambda model, field, image: model.intensity(field), "curvature": curvature}


def render_controlled(
    upscaler: Upscaler,
    latent: Latent,
    size: Size,
    levels: Sequence[Level],
    measure: str = "intensity",
    truncates: bool = False,
) -> ControlledPicture:
    """Render the `latent` of one picture at the target `size` (H, W), level by level; the upscaler's model is an LMF
    decoder.

    The first level starts from the LR picture; `levels` are in order of scale, the last one taking all that is left. A
    last level below the target is enlarged bilinearly. `truncates` as in `level_size`.
    """
    model: LMFDecoder = upscaler.model
    with upscaler.computing():
        field = model.field(latent, model.cell(latent, Grid.of_size(size)))
        levels = needed_levels(levels, latent.size, size, truncates)
        bounds = torch.tensor([level.threshold for level in levels[:-1]], device=latent.image.device)
        # A pixel exactly on a threshold belongs to both levels in the published rule; the later one is what remains.
        wanted = torch.bucketize(MEASURES[measure](model, field, latent.image), bounds, right=True)
        wanted = wanted.cpu()  # the one time that a device is waited for
        picture, queries = latent.image, 0
        for number, level in enumerate(levels):
            here = wanted == number
            if not here.any():  # as published, the picture stays as it is: resampling once more would blur it
                continue
            grid = Grid.of_size(level_size(level.scale, latent.size, size, truncates))
            picture = F.interpolate(picture, grid.size, mode="bilinear", align_corners=False)
            model.paint(model.with_cell(field, model.cell(latent, grid)), grid, picture, here)
            queries += positions_in(here[0], grid)
        if picture.shape[-2:] != size:
            picture = F.interpolate(picture, size, mode="bilinear", align_corners=False)
        picture = upscaler.normalization.gt.invert_(picture[0]).clamp_(0, 1)
    return ControlledPicture(picture, wanted[0], tuple(level.scale for level in levels), queries, size[0] * size[1])


def positions_in(chosen: Tensor, grid: Grid) -> int:
    """How many positions of a grid lie in the `chosen` LR pixels (h, w), bool, on the CPU."""
    rows, columns = (pixel_index(axis, n) for axis, n in zip((grid.rows, grid.columns), chosen.shape, strict=True))
    in_rows, in_columns = (torch.bincount(at, minlength=n) for at, n in zip((rows, columns), chosen.shape, strict=True))
    return int((chosen * (in_rows[:, None] * in_columns)).sum())


def needed_levels(levels: Sequence[Level], input_size: Size, size: Size, truncates: bool = False) -> list[Level]:
    """`levels` up to the first that reaches the target `size` on both axes."""
    reached = (n for n, level in enumerate(levels, 1) if level_size(level.scale, input_size, size, truncates) == size)
    return list(levels[: next(reached, len(levels))])


def level_size(scale: float, input_size: Size, size: Size, truncates: bool = False) -> Size:
    """(H, W) of a level: `scale` times the (h, w) input, rounded or, as published, truncated; per axis at most the
    target `size`."""
    whole = int if truncates else round
    height, width = (min(whole(n * scale), target) for n, target in zip(input_size, size, strict=True))
    return height, width
