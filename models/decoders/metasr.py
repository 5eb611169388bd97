"""MetaSR (Hu et al., CVPR 2019): an MLP predicts the filter for a latent from the position inside its LR pixel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.continuous import ContinuousModel, Field, Latent
from models.encoders import make_encoder
from models.layers.mlp import MLP, unfolded
from models.registry import register
from utils import progress
from utils.geometry.grids import Grid, OutputGrid, cell_at, first_pixels, offset_from_corner

# Up to this many distinct filters, one per (row offset, column offset), are cheaper than one per position.
MOST_FILTERS = 4096
MOST_LAUNCHES = 64  # filters on an accelerator, where each is a launch


@dataclass(frozen=True, kw_only=True)
class MetaField(Field):
    """`table` (B, h, w, 576) unfolded features, and the `cell`, (B, 2) where the caller has it, or (B, 2, h, w)."""

    cell: Tensor


@register("metasr")
class MetaSR(ContinuousModel):
    """rgb = latent (576) times a (576, 3) matrix, an MLP of the offset from the LR pixel's corner and the cell."""

    cell_on_cpu = True

    def __init__(self, encoder_spec: Mapping[str, Any]):
        super().__init__()
        self.encoder = make_encoder(encoder_spec)
        self.latent_dim = 9 * self.encoder.out_dim
        self.imnet = MLP(3, 3 * self.latent_dim, [256])
        self.floats_per_query = 4 * self.latent_dim

    def field(self, latent: Latent, cell: Tensor) -> MetaField:
        table = unfolded(latent.features)
        return MetaField(table, cell=cell if cell.dim() == 2 else cell.to(table.device))

    def sample(self, field: MetaField, coord: Tensor) -> Tensor:
        height, width = field.size
        cell = cell_at(field.cell.to(coord.device), coord)  # (B, 1 or Q, 2)
        rows, offset_y = offset_from_corner(coord[..., 0], cell[..., 0], height)
        columns, offset_x = offset_from_corner(coord[..., 1], cell[..., 1], width)
        index = first_pixels(coord.shape[0], field.size, coord.device)[:, None] + rows * width + columns  # (B, Q)
        latent = field.table.flatten(0, 2).index_select(0, index.flatten()).unflatten(0, index.shape)
        relative_cell = (cell[..., 0] * height / 2).expand_as(offset_y)
        filters = self.imnet(torch.stack([offset_y, offset_x, relative_cell], dim=-1))
        return (latent[..., None, :] @ filters.unflatten(-1, (self.latent_dim, 3)))[..., 0, :]

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        return [(self.imnet, queries), (3 * self.latent_dim, queries)]

    def paint(self, field: MetaField, grid: OutputGrid, output: Tensor) -> None:
        constant = field.cell.dim() == 2 and bool((field.cell == field.cell[:1]).all())
        if not (constant and isinstance(grid, Grid) and self._paint_by_filters(field, grid, output)):
            super().paint(field, grid, output)

    def _paint_by_filters(self, field: MetaField, grid: Grid, output: Tensor) -> bool:
        """`paint` with one filter for all positions of equal offsets; False, and nothing painted, where they are too
        many."""
        (height, width), cell, device = field.size, field.cell[0].cpu(), output.device
        rows, offset_y = offset_from_corner(grid.rows, cell[0], height)
        columns, offset_x = offset_from_corner(grid.columns, cell[1], width)
        # Offsets repeat along a grid up to rounding, so one filter serves all positions with equal offsets.
        offset_y, at_y, rows = distinct(offset_y, rows, device)
        offset_x, at_x, columns = distinct(offset_x, columns, device)
        if len(offset_y) * len(offset_x) > (MOST_FILTERS if output.is_cpu else MOST_LAUNCHES):
            return False
        inputs = torch.stack([*torch.meshgrid(offset_y, offset_x, indexing="ij")], dim=-1)
        inputs = F.pad(inputs, (0, 1), value=float(cell[0] * height / 2)).to(device)
        filters = self.imnet(inputs).unflatten(-1, (self.latent_dim, 3))  # (offsets of y, offsets of x, 576, 3)
        for places_y, of_rows, matrices in zip(at_y, rows, filters, strict=True):
            latents = field.table.index_select(1, of_rows)  # (B, rows at this offset, w, 576)
            for places_x, of_columns, matrix in zip(at_x, columns, matrices, strict=True):
                values = latents.index_select(2, of_columns) @ matrix
                output[:, :, places_y[:, None], places_x] = values.permute(0, 3, 1, 2)
            progress.advance(len(places_y) * grid.size[1])
        return True


def distinct(
    offset: Tensor, pixels: Tensor, device: torch.device
) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Distinct values of `offset` (N,) up to 1e-5; for each of them the elements that have it, and their `pixels`
    (N,), on `device`."""
    _, which, counts = (offset * 1e5).round().unique(return_inverse=True, return_counts=True)
    values = offset.new_empty(len(counts)).index_copy_(0, which, offset)
    order = which.argsort(stable=True)
    return values, *(index.to(device).split(counts.tolist()) for index in (order, pixels[order]))
