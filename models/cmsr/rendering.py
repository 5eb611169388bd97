"""CMSR (LMF, CVPR 2024): controllable multi-scale rendering, which renders easy regions at a lower scale.

How easy an LR pixel is, is read from its modulations (or by another of MEASURES). Thresholds say up to which value a
lower scale will do; a picture is then rendered level by level, each enlarged bilinearly and overwritten where more is
needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.decoders.lmf import LMFDecoder, ModulatedField
from utils.geometry.grids import Grid, Size, cell_of, sample_bilinear
from utils.geometry.neighbours import AxisRuns, Corners, look_up_runs


@dataclass(frozen=True)
class Level:
    """Render LR pixels whose measure is up to `threshold` at `scale`."""

    scale: float
    threshold: float


@dataclass(frozen=True)
class ControlledPicture:
    """A picture (B, 3, H, W), normalised; the `level` (B, h, w) at which each LR pixel was rendered, an index of
    `scales`; and how many `queries` were evaluated, of how many in `full` rendering."""

    picture: Tensor
    level: Tensor
    scales: tuple[float, ...]
    queries: int
    full: int

    @property
    def share(self) -> float:
        """Share of queries evaluated; above 1 where control costs more than it saves."""
        return self.queries / self.full


def intensity(model: LMFDecoder, field: ModulatedField, image: Tensor) -> Tensor:
    """The published measure: how much an LR pixel is modulated, (B, h, w)."""
    return model.intensity(field)


def curvature(model: LMFDecoder, field: ModulatedField, image: Tensor) -> Tensor:
    """Ours: the largest second difference of the LR picture within 3x3 pixels, (B, h, w), by which interpolation errs.

    Needs no query, and spends fewer at the same loss than the published measure (see the README).
    """
    p = F.pad(image, (1, 1, 1, 1), mode="replicate")
    along_x = p[..., 1:-1, :-2] + p[..., 1:-1, 2:] - 2 * image
    along_y = p[..., :-2, 1:-1] + p[..., 2:, 1:-1] - 2 * image
    across = (p[..., :-2, :-2] + p[..., 2:, 2:] - p[..., :-2, 2:] - p[..., 2:, :-2]) / 2
    largest = torch.stack([along_x, along_y, across]).abs().amax((0, 2))  # (B, h, w)
    return F.max_pool2d(largest[:, None], 3, stride=1, padding=1)[:, 0] / 2


MEASURES = {"intensity": intensity, "curvature": curvature}


def render_controlled(
    model: LMFDecoder,
    field: ModulatedField,
    image: Tensor,
    size: Size,
    levels: Sequence[Level],
    measure: str = "intensity",
) -> ControlledPicture:
    """Render `field`, made for the target `size` (H, W), level by level.

    `image` (B, 3, h, w), normalised, is what the first level starts from; `levels` in order of scale, the last one
    taking all that is left. Per axis no level is larger than the target; levels behind the first of the target's size
    are not needed. A last level below the target is enlarged bilinearly.
    """
    levels = needed_levels(levels, field.size, size)
    bounds = torch.tensor([level.threshold for level in levels[:-1]], device=image.device)
    # A pixel exactly on a threshold belongs to both levels in the published rule; the later one is what remains.
    wanted = torch.bucketize(MEASURES[measure](model, field, image), bounds, right=True)
    picture, queries = image, 0
    for number, level in enumerate(levels):
        grid_size = level_size(level.scale, field.size, size)
        picture = F.interpolate(picture, grid_size, mode="bilinear", align_corners=False)
        here = wanted == number
        if here.any():
            cell = cell_of(grid_size, field.size, model.trained_scales[1]).to(image.device).expand(field.batch, 2)
            queries += paint(model, model.with_cell(field, cell), picture, here)
    if picture.shape[-2:] != size:
        picture = F.interpolate(picture, size, mode="bilinear", align_corners=False)
    scales = tuple(level.scale for level in levels)
    return ControlledPicture(picture, wanted, scales, queries, field.batch * size[0] * size[1])


def needed_levels(levels: Sequence[Level], input_size: Size, size: Size) -> list[Level]:
    """`levels` up to the first that reaches the target `size` on both axes."""
    needed = []
    for level in levels:
        needed.append(level)
        if level_size(level.scale, input_size, size) == size:
            break
    return needed


def level_size(scale: float, input_size: Size, size: Size) -> Size:
    """(H, W) of a level: `scale` times the (h, w) input, per axis at most the target `size`."""
    height, width = (min(round(n * scale), target) for n, target in zip(input_size, size, strict=True))
    return height, width


def paint(model: LMFDecoder, field: ModulatedField, picture: Tensor, wanted: Tensor) -> int:
    """Overwrite `picture` (B, 3, H, W) where the LR pixel that holds a position is `wanted` (B, h, w): number of
    queries."""
    size = tuple(picture.shape[-2:])
    if wanted.all():
        picture.copy_(model.render(field, Grid.of_size(size, picture.device)))
        return len(picture) * size[0] * size[1]
    grid = Grid.of_size(size, picture.device)
    rows = look_up_runs(grid.rows, field.size[0], model.local_ensemble, within_pixels=True)
    columns = look_up_runs(grid.columns, field.size[1], model.local_ensemble, within_pixels=True)
    in_rows, in_columns = rows.pixels(grid.rows, field.size[0]), columns.pixels(grid.columns, field.size[1])
    chosen = wanted[:, in_rows[:, None], in_columns]  # (B, runs of y, runs of x)
    kernels = model.kernels(field)
    if kernels is None:
        _paint_chosen(model, field, grid, rows, columns, picture, chosen)
    else:
        kernels.render(rows, columns, (grid.rows, grid.columns), picture, chosen)
    return int((chosen * (rows.length[:, None] * columns.length)).sum())


def _paint_chosen(
    model: LMFDecoder,
    field: ModulatedField,
    grid: Grid,
    rows: AxisRuns,
    columns: AxisRuns,
    picture: Tensor,
    chosen: Tensor,
) -> None:
    """Overwrite `picture` (B, 3, H, W) in the pairs of runs that are `chosen` (B, runs of rows, runs of columns)."""
    fitting = max(1, model.band_queries(field) // (rows.longest * columns.longest))
    for part in chosen.nonzero().split(fitting):  # (N, 3): picture, run of y, run of x
        corners = Corners.of_chosen_runs(rows.lookup, columns.lookup, field.size, part)
        y, x = rows.members()[part[:, 1]], columns.members()[part[:, 2]]  # (N, Ly), (N, Lx)
        index = part[:, 0, None, None], slice(None), y[:, :, None], x[:, None, :]
        picture[index] = model.query(field, corners) + _skip(field, grid, part[:, 0], y, x)


def _skip(field: ModulatedField, grid: Grid, picture: Tensor, y: Tensor, x: Tensor) -> Tensor | float:
    """What the field adds at the positions of N runs: (N, Ly, Lx, 3)."""
    if field.skip is None:
        return 0.0
    coord = torch.stack(torch.broadcast_tensors(grid.rows[y][:, :, None], grid.columns[x][:, None]), dim=-1)
    values = torch.empty(*coord.shape[:-1], field.skip.shape[1], dtype=field.skip.dtype, device=coord.device)
    for number in picture.unique().tolist():
        here = picture == number
        values[here] = sample_bilinear(field.skip[number : number + 1], coord[here][None])[0]
    return values
