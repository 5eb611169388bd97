"""Models that answer a position from the LR pixels around it."""

import math

from torch import Tensor

from models.continuous import ContinuousModel, Field, Latent, paint_positions
from models.native.fused import FusedStage
from models.native.lmf import RenderStage
from utils import progress
from utils.geometry.grids import Grid, OutputGrid, Size, pixel_index
from utils.geometry.neighbours import AxisSpans, Neighbours, PixelWindow, look_up, look_up_spans

PAINTED_POSITIONS = 1 << 21  # together: half a second at most, where routines are native
SAMPLED_POSITIONS = 1 << 16  # of a warp together, where routines are native: chunks themselves cost time


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

    def native_stage(self, field: Field) -> RenderStage | None:
        """The routines that paint the field on a CPU without PyTorch, or None."""
        return None

    def fused_stage(self, field: Field) -> FusedStage | None:
        """The kernels that paint the field on a GPU in one launch, or None."""
        return None

    def pixels_at_a_time(self, latent: Latent) -> Size | None:
        """LR rows and columns whose field `render` should hold at a time; None: all."""
        return None

    def field_of_part(self, latent: Latent, cell: Tensor, pixels: PixelWindow) -> Field:
        """The field of some LR pixels, for models with `pixels_at_a_time`."""
        raise NotImplementedError

    def sample(self, field: Field, coord: Tensor) -> Tensor:
        if (fused := self.fused_stage(field)) is not None:
            return fused.sample(coord)
        if (stage := self.native_stage(field)) is not None:
            y, x = (look_up(coord[..., axis], field.size[axis], self.local_ensemble) for axis in (0, 1))
            return stage.sample(y.from_pixel(field.pixels.top), x.from_pixel(field.pixels.left), coord)
        values = self.query(field, Neighbours.of_points(coord, field.pixels, self.local_ensemble))
        return values + field.skip_at(coord)

    def paint(self, field: Field, grid: OutputGrid, output: Tensor, chosen: Tensor | None = None) -> None:
        """As every model; with `chosen` (B, h, w), bool, only where those LR pixels hold a position, on a plain grid
        and a field of all rows."""
        fused, stage = self.fused_stage(field), self.native_stage(field)
        if not isinstance(grid, Grid):
            paint_positions(self, field, grid, output, SAMPLED_POSITIONS if stage else self._chunk_queries(field))
            return
        if fused is None and stage is None and chosen is not None:
            self._paint_chosen(field, grid, output, chosen)
            return
        if fused is not None:
            fused.paint(grid, output, chosen)
        else:
            axes = zip((grid.rows, grid.columns), field.size, strict=True)
            within = chosen is not None
            rows, columns = (look_up_spans(*axis, self.local_ensemble, within_pixels=within) for axis in axes)
            if stage is None:
                self._paint_blocks(field, grid, rows, columns, output)
                return
            if chosen is not None:  # as pairs of spans: (B, spans of rows, spans of columns)
                of_rows, of_columns = rows.pixels(grid.rows, field.size[0]), columns.pixels(grid.columns, field.size[1])
                chosen = chosen[:, of_rows[:, None], of_columns]
            spans = rows.from_pixel(field.pixels.top), columns.from_pixel(field.pixels.left)
            stage.render(*spans, (grid.rows, grid.columns), output, chosen)
        progress.advance(grid.size[0] * grid.size[1])

    def _paint_latent(self, latent: Latent, grid: OutputGrid, output: Tensor) -> None:
        """In blocks that lie in the same places whatever the grid, so that a window costs what is around it."""
        held, most, cell = latent.pixels, self.pixels_at_a_time(latent), self.cell(latent, grid)
        if most is None or (most[0] >= held.height and most[1] >= held.width):
            self._paint_in_turn(self.field(latent, cell), grid, output)
            return
        step_y, step_x = (even_step(n, m) for n, m in zip((held.height, held.width), most, strict=True))
        for rows, part, place in grid.by_pixel_rows(latent.size[0], step_y, held.top):
            whole = [(held.columns, part, ...)]
            blocks = part.by_pixel_columns(latent.size[1], step_x, held.left) if isinstance(part, Grid) else whole
            for columns, block, within in blocks:
                # The pixels that positions in these pixels read, as far as they are here
                pixels = PixelWindow.of_spans(latent.size, rows, columns).grown(1).clipped(held)
                self._paint_in_turn(self.field_of_part(latent, cell, pixels), block, output[place][within])

    def _paint_in_turn(self, field: Field, grid: OutputGrid, output: Tensor) -> None:
        """`paint`, on a CPU a plain grid in parts, between which progress is told."""
        if not isinstance(grid, Grid):
            self.paint(field, grid, output)
            return
        at_a_time = PAINTED_POSITIONS if output.is_cpu else grid.size[0] * grid.size[1]
        for rows, part in grid.row_chunks(at_a_time):
            self.paint(field, part, output[:, :, rows])

    def _paint_blocks(self, field: Field, grid: Grid, rows: AxisSpans, columns: AxisSpans, output: Tensor) -> None:
        """Paint a grid by PyTorch, a block of spans at a time: whole rows of them when they fit, else a part of one."""
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

    def _paint_chosen(self, field: Field, grid: Grid, output: Tensor, chosen: Tensor) -> None:
        """Paint, by PyTorch, the positions that lie in `chosen` LR pixels (B, h, w)."""
        rows, columns = (pixel_index(axis, n) for axis, n in zip((grid.rows, grid.columns), field.size, strict=True))
        for number, of_picture in enumerate(chosen.cpu()):
            picture = field.picture(number)
            for part in of_picture[rows[:, None], columns].nonzero().split(self._chunk_queries(picture)):  # (N, 2)
                y, x = part.unbind(1)
                coord = grid.coord_of(y, x)[None].to(output.device)
                output[number][:, y.to(output.device), x.to(output.device)] = self.sample(picture, coord)[0].T


def even_step(n: int, most: int) -> int:
    """The side of blocks, all of about one size, of at most `most` of n pixels."""
    return math.ceil(n / math.ceil(n / most))
