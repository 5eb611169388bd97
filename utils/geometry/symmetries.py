"""The eight flips and turns of a picture, and how a grid of positions follows them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from utils.geometry.grids import Grid, OutputGrid
from utils.geometry.homographies import WarpedGrid
from utils.geometry.sizes import Size


@dataclass(frozen=True)
class Symmetry:
    """Flips of rows and columns, then a transposition."""

    flips_rows: bool
    flips_columns: bool
    transposes: bool

    def of_picture(self, picture: Tensor) -> Tensor:
        """(..., h, w) -> (..., h, w), or (..., w, h) where it transposes."""
        picture = picture.flip([axis for axis, flips in ((-2, self.flips_rows), (-1, self.flips_columns)) if flips])
        return picture.transpose(-2, -1) if self.transposes else picture

    def of_grid(self, grid: OutputGrid) -> OutputGrid:
        """The grid that reads from `of_picture` what `grid` reads from a picture: along a picture's own axes the output
        is flipped and turned with it (see `undone`), a warp's output stays upright."""
        if isinstance(grid, WarpedGrid):
            size = grid.input_size
            homography = replace(grid.homography, matrix=grid.homography.matrix @ self._inverse(size))
            return replace(grid, homography=homography, input_size=size[::-1] if self.transposes else size)
        if not isinstance(grid, Grid):
            raise TypeError(f"a {type(grid).__name__} cannot be mirrored")
        rows = -grid.rows.flip(0) if self.flips_rows else grid.rows
        columns = -grid.columns.flip(0) if self.flips_columns else grid.columns
        if self.transposes:
            return Grid(columns, rows, grid.full_size[::-1])
        return Grid(rows, columns, grid.full_size)

    def undone(self, output: Tensor, grid: OutputGrid) -> Tensor:
        """Map an output rendered on `of_grid(grid)` back to `grid`, (..., H, W)."""
        if isinstance(grid, WarpedGrid):
            return output
        output = output.transpose(-2, -1) if self.transposes else output
        return output.flip([axis for axis, flips in ((-2, self.flips_rows), (-1, self.flips_columns)) if flips])

    def _inverse(self, size: Size) -> Tensor:
        """(3, 3) float64: pixels (x, y, 1) of the flipped and turned picture -> those of the (h, w) picture."""
        matrix = torch.eye(3, dtype=torch.float64)
        for axis, flips, n in ((0, self.flips_columns, size[1]), (1, self.flips_rows, size[0])):
            if flips:
                matrix[axis, axis], matrix[axis, 2] = -1, n - 1
        return matrix[:, [1, 0, 2]] if self.transposes else matrix


SYMMETRIES = tuple(Symmetry(*flips) for flips in torch.cartesian_prod(*[torch.tensor([False, True])] * 3).tolist())
