"""LMF (He and Jin, CVPR 2024): the base of LM-LIIF, LM-LTE and LM-CiaoSR.

A *latent MLP* (`hypernet`) runs once per LR pixel and emits the modulations of a tiny *render MLP* (`imnet`) that
runs per output pixel, and a compressed latent code that the render MLP reads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from models.computing import chunk_bytes
from models.continuous import Field, Latent, paint_positions
from models.layers.mlp import LMMLP, linear_on_map
from models.local_ensemble import LocalEnsembleModel
from models.native import backends
from models.native.fused import MOST_UNITS, MOST_WAVES, FusedStage
from models.native.lmf import RenderStage
from models.registry import make
from utils import progress
from utils.errors import InputError
from utils.geometry.grids import Grid, OutputGrid, Size, cell_in_pixels
from utils.geometry.neighbours import AxisSpans, Neighbours, PixelWindow, look_up, look_up_spans

# Size of the modulations of the LR rows held at a time: with few of them, much is computed twice at their seams.
FIELD_BYTES = 48 << 20
PAINTED_POSITIONS = 1 << 21  # together: half a second at most, where routines are native
SAMPLED_POSITIONS = 1 << 16  # of a warp together, where routines are native: chunks themselves cost time
BLOCK = 96  # LR pixels of a side of what is held on a CPU: fits its caches, and a small window needs few


def hidden_width(imnet_spec: Mapping[str, Any]) -> int:
    """`hidden_dim` of the render MLP that a spec describes: the latent codes are as wide."""
    return (imnet_spec.get("args") or {}).get("hidden_dim", 16)


@dataclass(frozen=True, kw_only=True)
class ModulatedField(Field):
    """`table` is an LR pixel's part of the render MLP's first layer, of `code` (B, c, h, w), the compressed latent, and
    the cell; `modulation` (B, h, w, mod_dim) as the render MLP takes it."""

    code: Tensor
    modulation: Tensor


class LMFDecoder(LocalEnsembleModel):
    """Base of the LMF decoders: a subclass makes its `encoder`, calls `make_render_mlp`, and implements `modulate`."""

    native_library = "lmf"
    warps_parts = True
    intensity_range = 0.5  # up to where intensities are scanned when a scale2mod table is made
    waves = 0  # Fourier features of the position that the render MLP reads; 0: it reads [code, offset, cell]

    imnet: LMMLP
    code_dim: int
    cell_decode: bool
    lr_skip: bool

    def make_render_mlp(self, imnet_spec: Mapping[str, Any], in_dim: int) -> LMMLP:
        """The render MLP for inputs of `in_dim` channels."""
        imnet = make(imnet_spec, in_dim=in_dim, out_dim=3)
        if not isinstance(imnet, LMMLP):
            raise InputError(f"the render MLP of an LMF decoder is an 'lmmlp', not '{imnet_spec['name']}'")
        self.floats_per_query = 4 * imnet.hidden_dim  # four neighbours
        return imnet

    def split_output(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """The latent MLP's output (B, mod_dim + c, h, w) -> modulations and what follows them."""
        return output.split([self.imnet.mod_dim, output.shape[1] - self.imnet.mod_dim], dim=1)

    def modulate(self, latent: Latent, inner: PixelWindow, cell: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        """Latent -> modulations (B, mod_dim, h, w) and code (B, code_dim, h, w) of its pixels `inner`.

        The latent may be a part of a picture of `size`, with all 3x3 pixels around `inner`; `cell` (B, 2, h or 1, w or
        1), that of `inner`, is in LR pixels.
        """
        raise NotImplementedError

    def tabulate(self, code: Tensor, cell: Tensor) -> Tensor:
        """The render MLP's first layer but for the offset columns, (B, h, w, hidden_dim); `cell` as in `modulate`."""
        first = self.imnet.layers[0]
        of_code, _, of_cell = first.weight.tensor_split([self.code_dim, self.code_dim + 2], dim=1)
        hidden = linear_on_map(code, of_code, first.bias)
        if self.cell_decode:
            hidden = hidden + linear_on_map(cell, of_cell)
        return hidden.permute(0, 2, 3, 1)

    def first_layer(self, field: ModulatedField, neighbours: Neighbours) -> Tensor:
        """The render MLP's first layer at the positions, before modulation: (K, K, B, *T, hidden_dim)."""
        return neighbours.gather(field.table) + neighbours.project_offset(self.of_offset())

    def of_offset(self) -> Tensor:
        """The columns of the render MLP's first layer that read the offset, (hidden_dim, 2)."""
        return self.imnet.layers[0].weight[:, self.code_dim : self.code_dim + 2]

    def field(self, latent: Latent, cell: Tensor) -> ModulatedField:
        return self.field_of_part(latent, cell, latent.pixels)

    def field_of_part(self, latent: Latent, cell: Tensor, pixels: PixelWindow) -> ModulatedField:
        size, held = latent.size, latent.pixels
        around = pixels.grown(1).clipped(held)
        here, inner = around.within(held), pixels.within(around)
        varies, cell = cell.dim() == 4, cell_in_pixels(cell, size)
        cell = pixels.of(cell) if varies else cell
        modulation, code = self.modulate(latent.part(here.rows, here.columns), inner, cell, size)
        skip, modulation = latent.image if self.lr_skip else None, modulation.permute(0, 2, 3, 1)
        return ModulatedField(self.tabulate(code, cell), skip, pixels, held, code=code, modulation=modulation)

    @property
    def context(self) -> int | None:
        in_parts = not self.lr_skip or backends.choose(self.native_library, *self.imnet.parameters()) is not None
        return getattr(self.encoder, "reach", None) if in_parts else None

    def pixels_at_a_time(self, latent: Latent) -> Size:
        on_cpu, width = latent.features.is_cpu, latent.size[1]
        across, held = (BLOCK, FIELD_BYTES) if on_cpu else (width, chunk_bytes(latent.features.device))
        rows = max(2, held // (4 * self.imnet.mod_dim * len(latent.image) * min(across, width)))
        return min(rows, BLOCK) if on_cpu else rows, across

    def intensity(self, field: ModulatedField) -> Tensor:
        """Mean magnitude of the second half of each LR pixel's modulations (the shifts), (B, h, w)."""
        return field.modulation[..., self.imnet.mod_dim // 2 :].abs().mean(-1)

    def with_cell(self, field: ModulatedField, cell: Tensor) -> ModulatedField:
        """The same modulations read with another output pixel size."""
        return replace(field, table=self.tabulate(field.code, cell_in_pixels(cell, field.size)))

    def latent_runs(self, pixels: int) -> list[tuple[nn.Module | int, int]]:
        """The latent MLP's part of `network_runs`."""
        return [(self.hypernet, pixels)]

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        return [*self.latent_runs(pixels), (self.imnet, self.neighbours * queries)]

    def query(self, field: ModulatedField, neighbours: Neighbours) -> Tensor:
        scales, shifts = (
            None if layers is None else (neighbours.gather(layer) for layer in layers)
            for layers in self.imnet.split(field.modulation)
        )
        return neighbours.blend(self.imnet.after_first(self.first_layer(field, neighbours), scales, shifts))

    def sample(self, field: ModulatedField, coord: Tensor) -> Tensor:
        if (fused := self.fused_stage(field)) is not None:
            return fused.sample(coord)
        if (stage := self.native_stage(field)) is not None:
            y, x = (look_up(coord[..., axis], field.size[axis], self.local_ensemble) for axis in (0, 1))
            return stage.sample(y.from_pixel(field.pixels.top), x.from_pixel(field.pixels.left), coord)
        return super().sample(field, coord)

    def paint(self, field: ModulatedField, grid: OutputGrid, output: Tensor, chosen: Tensor | None = None) -> None:
        """As every model; with `chosen` (B, h, w), bool, only where those LR pixels hold a position, on a plain grid
        and a field of all rows; by PyTorch, of one picture."""
        fused, stage = self.fused_stage(field), self.native_stage(field)
        if not isinstance(grid, Grid):
            paint_positions(self, field, grid, output, SAMPLED_POSITIONS if stage else self._chunk_queries(field))
            return
        if fused is None and stage is None and chosen is None:
            super().paint(field, grid, output)
            return
        if fused is not None:
            fused.paint(grid, output, chosen)
        else:
            axes, within = zip((grid.rows, grid.columns), field.size, strict=True), chosen is not None
            rows, columns = (look_up_spans(*axis, self.local_ensemble, within_pixels=within) for axis in axes)
            if chosen is not None:  # as pairs of spans: (B, spans of rows, spans of columns)
                of_rows, of_columns = rows.pixels(grid.rows, field.size[0]), columns.pixels(grid.columns, field.size[1])
                chosen = chosen[:, of_rows[:, None], of_columns]
            if stage is None:
                self._paint_chosen(field, grid, rows, columns, output, chosen[0])
            else:
                spans = rows.from_pixel(field.pixels.top), columns.from_pixel(field.pixels.left)
                stage.render(*spans, (grid.rows, grid.columns), output, chosen)
        progress.advance(grid.size[0] * grid.size[1])

    def _paint_chosen(
        self, field: Field, grid: Grid, rows: AxisSpans, columns: AxisSpans, output: Tensor, chosen: Tensor
    ) -> None:
        """Paint, by PyTorch, the `chosen` (spans of rows, spans of columns) of one picture: modulations are gathered
        once a pair of spans, not once a position."""
        pairs = max(1, self._chunk_queries(field) // (rows.longest * columns.longest))
        for of_rows, of_columns in (part.unbind(1) for part in chosen.nonzero().split(pairs)):  # (N,) each
            y, x = rows.members()[of_rows, :, None], columns.members()[of_columns, None]  # (N, Ly, 1), (N, 1, Lx)
            lookups = (axis.lookup.part(part) for axis, part in ((rows, of_rows), (columns, of_columns)))
            neighbours = Neighbours.of_pairs(*(lookup.to(output.device) for lookup in lookups), field.pixels)
            values = self.query(field, neighbours) + field.skip_at(grid.coord_of(y, x)[None].to(output.device))
            output[0][:, y.to(output.device), x.to(output.device)] = values[0].permute(3, 0, 1, 2)

    def _paint_latent(self, latent: Latent, grid: OutputGrid, output: Tensor) -> None:
        """In blocks that lie in the same places whatever the grid, so that a window costs what is around it."""
        held, most, cell = latent.pixels, self.pixels_at_a_time(latent), self.cell(latent, grid)
        if most[0] >= held.height and most[1] >= held.width:
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

    def native_stage(self, field: ModulatedField) -> RenderStage | None:
        tensors, parameters = (field.table, field.modulation, field.skip), self.imnet.parameters()
        library = backends.choose(self.native_library, *tensors, *parameters)
        return None if library is None else RenderStage(library=library, **self._stage(field))

    def fused_stage(self, field: ModulatedField) -> FusedStage | None:
        tensors, parameters = (field.table, field.modulation, field.skip), self.imnet.parameters()
        fits = self.imnet.hidden_dim <= MOST_UNITS and self.waves <= MOST_WAVES
        return self.fused(field) if backends.fuses(*tensors, *parameters) and fits else None

    def fused(self, field: ModulatedField) -> FusedStage:
        """The render stage of a field as Triton's kernels take it, wherever the field is."""
        return FusedStage(**self._stage(field), pixels=field.pixels, local_ensemble=self.local_ensemble)

    def _stage(self, field: ModulatedField) -> dict[str, Any]:
        """The fields of `native.lmf.Stage`: the render MLP and the LR pixels."""
        imnet, parameters = self.imnet, list(self.imnet.parameters())
        if not self.waves:
            parameters[:2] = [self.of_offset()]
        network = {"hidden": imnet.hidden_dim, "depth": imnet.hidden_depth, "waves": self.waves}
        network |= {"has_scale": imnet.mod_scale, "has_shift": imnet.mod_shift, "parameters": parameters}
        pixels = {"table": field.table, "modulation": field.modulation}
        return network | pixels | {"skip": field.skip, "skip_window": field.skip_window}


def even_step(n: int, most: int) -> int:
    """The side of blocks, all of about one size, of at most `most` of n pixels."""
    return math.ceil(n / math.ceil(n / most))
