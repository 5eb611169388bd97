"""Models that answer a position from the LR pixels around it."""

from dataclasses import replace

import torch
from torch import Tensor

from models.continuous import ContinuousModel, Field, Latent
from models.native.lmf import RenderStage
from utils.geometry.grids import Grid, Size, pixel_index, positions_in_rows, sample_bilinear
from utils.geometry.homographies import WarpedGrid
from utils.geometry.neighbours import AxisRuns, Corners, look_up, look_up_runs

WARPED_QUERIES = 1 << 18  # positions that are looked through together for those in a band of LR rows


class LocalEnsembleModel(ContinuousModel):
    """Models that answer a position from the LR pixels around it (LIIF, LTE, the LMF family): they implement `query`.

    A grid is rendered in blocks of runs (see `AxisRuns`): all positions between four LR centres share
    what those four contribute, which is looked up once for all of them.
    """

    local_ensemble: bool = True

    @property
    def corners(self) -> int:
        """How many LR pixels a position looks at."""
        return 4 if self.local_ensemble else 1

    def query(self, field: Field, corners: Corners) -> Tensor:
        """Values (B, *T, 3) at the positions that `corners` describes."""
        raise NotImplementedError

    def kernels(self, field: Field) -> RenderStage | None:
        """What renders the field without PyTorch, or None."""
        return None

    def sample(self, field: Field, coord: Tensor) -> Tensor:
        kernels = self.kernels(field)
        if kernels is not None:
            y, x = (look_up(coord[..., axis], field.size[axis], self.local_ensemble) for axis in (0, 1))
            return kernels.sample(y, x, coord)
        values = self.query(field, Corners.of_points(coord, field.size, self.local_ensemble))
        return values if field.skip is None else values + sample_bilinear(field.skip, coord)

    def render(self, field: Field, grid: Grid) -> Tensor:
        output = field.table.new_empty(field.batch, 3, *grid.size)
        self.paint(field, grid, *self.runs(field.size, grid), output)
        return output

    def band_rows(self, latent: Latent) -> int | None:
        """LR rows of the bands that `render_latent` works in; None: all at once."""
        return None

    def field_of_rows(self, latent: Latent, cell: Tensor, rows: slice) -> Field:
        """The field of some LR rows, its `skip` whole: what models with `band_rows` implement."""
        raise NotImplementedError

    def render_latent(self, latent: Latent, cell: Tensor, grid: Grid) -> Tensor:
        band_rows = self.band_rows(latent)
        if band_rows is None:
            return super().render_latent(latent, cell, grid)
        output = latent.features.new_empty(len(latent.image), 3, *grid.size)
        rows, columns = self.runs(tuple(latent.features.shape[-2:]), grid)
        for pixels, span, piece in rows.bands(band_rows):
            field = self.field_of_rows(latent, cell, pixels)
            self.paint(field, Grid(grid.rows[span], grid.columns), piece, columns, output[:, :, span])
        return output

    def warp_latent(self, latent: Latent, cell: Tensor, grid: WarpedGrid) -> tuple[Tensor, Tensor]:
        height, band_rows = latent.features.shape[2], self.band_rows(latent)
        if band_rows is None or band_rows >= height:
            return super().warp_latent(latent, cell, grid)
        output = latent.features.new_zeros(len(latent.image), 3, *grid.size)
        inside = torch.empty(grid.size, dtype=torch.bool, device="cpu")
        for first in range(0, height, band_rows):
            around = slice(max(first - 1, 0), min(first + band_rows + 1, height))  # what positions in the band look at
            field = self.field_of_rows(latent, cell, around)
            for rows, coord, inside[rows] in self.warped_bands(grid, WARPED_QUERIES):
                row, shown = pixel_index(coord[0].float(), height), output[:, :, rows].flatten(2)
                here = inside[rows] & (row >= first) & (row < first + band_rows)
                for chosen in here.flatten().nonzero()[:, 0].split(self.band_queries(field)):
                    position = coord.flatten(1)[:, chosen].T.float().to(output.device)  # (N, 2)
                    values = self.sample_rows(field, position.expand(field.batch, -1, -1), height, around)
                    shown[:, :, chosen.to(output.device)] = values.transpose(1, 2)
        return output, inside

    def sample_rows(self, field: Field, coord: Tensor, height: int, rows: slice) -> Tensor:
        """`sample` at positions in a picture of `height` rows, from the field of some of them."""
        y, x = coord.unbind(-1)
        own = torch.stack([positions_in_rows(y, height, rows), x], dim=-1)
        values = self.sample(replace(field, skip=None), own)
        return values if field.skip is None else values + sample_bilinear(field.skip, coord)

    def runs(self, size: Size, grid: Grid) -> tuple[AxisRuns, AxisRuns]:
        """The runs of a grid's rows and columns, for (h, w) LR pixels."""
        rows, columns = (
            look_up_runs(positions, n, self.local_ensemble)
            for positions, n in zip((grid.rows, grid.columns), size, strict=True)
        )
        return rows, columns

    def paint(self, field: Field, grid: Grid, rows: AxisRuns, columns: AxisRuns, output: Tensor) -> None:
        """Fill `output` (B, 3, H, W), the values on a grid whose runs are given."""
        kernels = self.kernels(field)
        if kernels is not None:
            kernels.render(rows, columns, (grid.rows, grid.columns), output)
            return
        runs_y, runs_x = self._block_runs(field, rows, columns)
        for span_y, real_y, y in rows.blocks(runs_y):
            for span_x, real_x, x in columns.blocks(runs_x):
                rgb = self.query(field, Corners.of_runs(y, x, field.size, field.batch))  # (B, Ry, Rx, Ly, Lx, 3)
                rgb = rgb.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)  # (B, 3, Ry * Ly, Rx * Lx)
                output[:, :, span_y, span_x] = rgb[:, :, real_y][:, :, :, real_x]
            if field.skip is not None:
                coord = Grid(grid.rows[span_y], grid.columns).coord().expand(field.batch, -1, -1, -1)
                output[:, :, span_y] += sample_bilinear(field.skip, coord).permute(0, 3, 1, 2)

    def _block_runs(self, field: Field, rows: AxisRuns, columns: AxisRuns) -> tuple[int, int]:
        """How many runs of each axis a block takes: whole rows when they fit, else a part of one."""
        budget = max(1, self.band_queries(field) // (rows.longest * columns.longest))
        return max(1, budget // len(columns.start)), min(len(columns.start), budget)
