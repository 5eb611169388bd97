"""Models that answer a position from the LR pixels around it."""

from torch import Tensor

from models.continuous import ContinuousModel, Field
from utils import progress
from utils.geometry.grids import Grid, OutputGrid
from utils.geometry.neighbours import Neighbours, look_up_spans


class LocalEnsembleModel(ContinuousModel):
    """Base of LIIF, LTE and the LMF family, which implement `query`.

    A plain grid is painted in blocks of spans (see `AxisSpans`): all positions between four LR centres share what
    those four contribute, which is looked up once for all of them.
    """

    local_ensemble: bool = True

    @property
    def neighbours(self) -> int:
        """How many LR pixels a position looks at."""
        return 4 if self.local_ensemble else 1

    def query(self, field: Field, neighbours: Neighbours) -> Tensor:
        """Values (B, *T, 3) at the positions whose LR pixels are given, without the skip picture."""
        raise NotImplementedError

    def sample(self, field: Field, coord: Tensor) -> Tensor:
        values = self.query(field, Neighbours.of_points(coord, field.pixels, self.local_ensemble))
        return values + field.skip_at(coord)

    def paint(self, field: Field, grid: OutputGrid, output: Tensor) -> None:
        if isinstance(grid, Grid):
            self._paint_blocks(field, grid, output)
        else:
            super().paint(field, grid, output)

    def _paint_blocks(self, field: Field, grid: Grid, output: Tensor) -> None:
        """Paint a grid by PyTorch, a block of spans at a time: whole rows of them when they fit, else a part of one."""
        axes = zip((grid.rows, grid.columns), field.size, strict=True)
        rows, columns = (look_up_spans(*axis, self.local_ensemble) for axis in axes)
        budget = max(1, self._chunk_queries(field) // (rows.longest * columns.longest))  # pairs of spans
        device = output.device
        across, here = list(columns.blocks(min(len(columns.start), budget), device)), grid.on(device)
        for span_y, real_y, y in rows.blocks(max(1, budget // len(columns.start)), device):
            for span_x, real_x, x in across:
                neighbours = Neighbours.of_spans(y, x, field.pixels, field.batch)
                rgb = self.query(field, neighbours)  # (B, Ry, Rx, Ly, Lx, 3)
                rgb = rgb.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)  # (B, 3, Ry * Ly, Rx * Lx)
                output[:, :, span_y, span_x] = rgb[:, :, real_y][:, :, :, real_x]
                progress.advance(len(real_y) * len(real_x))
            if field.skip is not None:
                coord = here.window(span_y.start, 0, (span_y.stop - span_y.start, grid.size[1])).coord()
                output[:, :, span_y] += field.skip_at(coord.expand(field.batch, -1, -1, -1)).permute(0, 3, 1, 2)
