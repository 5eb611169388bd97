"""The render stage of LMF on a GPU (triton_lmf.py): one launch for a grid, for positions, and for their gradients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.native.calls import check_shape
from models.native.lmf import Stage
from utils.geometry.grids import NEIGHBOUR_EPSILON, Grid, sample_bilinear
from utils.geometry.neighbours import PixelWindow

MOST_UNITS, MOST_WAVES = 64, 256  # of a layer that fits registers; wider ones are PyTorch's
LEAST_SIDE = 16  # of a matrix product in Triton
PAINTED_TILE, SAMPLED_TILE, GRADIENT_TILE = (4, 16), (1, 64), (1, 32)  # positions of a program
GRADIENT_REGISTERS = 240  # a bound that ptxas needs: by itself it takes 128 on sm_90, and spills
PARTS = 256  # sums of weights' gradients, added at the end: programs seldom meet in one


@dataclass(frozen=True, kw_only=True)
class FusedStage(Stage):
    """A stage on a GPU. `pixels` are those of the whole picture that `table` and `modulation` hold.

    Without `local_ensemble` a position reads the nearest LR pixel alone.
    """

    pixels: PixelWindow
    local_ensemble: bool

    def paint(self, grid: Grid, output: Tensor, chosen: Tensor | None = None) -> None:
        """Fill `output` (B, 3, H, W), of any strides; with `chosen` (B, h, w), bool, of the whole picture, only where
        those LR pixels hold a position."""
        check_shape("the output", output, (len(self.table), 3, *grid.size))
        positions = grid_positions(grid, output.device)
        if chosen is not None:
            check_shape("the choice of pixels", chosen, (len(self.table), *self.pixels.size))
            chosen = chosen.to(output.device, torch.uint8).contiguous()
        self._paint(output, output.stride(), positions, chosen, PAINTED_TILE)

    def sample(self, coord: Tensor) -> Tensor:
        """Values (B, Q, 3) at positions (B, Q, 2); their gradients pass to the table, the modulation and the
        parameters."""
        check_shape("positions", coord, (len(self.table), None, 2))
        if torch.is_grad_enabled():
            values = Sampled.apply(self, coord, self.table, self.modulation, *self.parameters)
            return values if self.skip is None else values + sample_bilinear(self.skip, coord)
        return self._sample(coord)

    def _sample(self, coord: Tensor) -> Tensor:
        output = self.table.new_empty(*coord.shape[:2], 3)
        batch, query, channel = output.stride()
        self._paint(output, (batch, channel, 0, query), points(coord), None, SAMPLED_TILE)
        return output

    def _paint(self, output: Tensor, strides: Sequence[int], positions: tuple, chosen: Tensor | None, tile) -> None:
        from models.native import triton_lmf  # imports Triton, where it is needed

        skip, window = self.skip, self.skip_window
        window = window or (PixelWindow.whole(tuple(skip.shape[2:])) if skip is not None else self.pixels)
        of_skip = (skip, *skip.stride(), window.top, window.left) if skip is not None else (output, 0, 0, 0, 0, 0, 0)
        if output.numel():
            triton_lmf.paint[_programs(positions, tile, len(output))](
                output, *strides, *positions, *self._network(), *self._lookup(), *of_skip,
                output if chosen is None else chosen,
                **self.shape(tile), HAS_SKIP=skip is not None, HAS_CHOICE=chosen is not None,
            )  # fmt: skip

    def shape(self, tile: tuple[int, int]) -> dict[str, Any]:
        """Constants and options that kernels are compiled with."""
        return {
            "TILE_Y": tile[0], "TILE_X": tile[1], "NEIGHBOURS": 4 if self.local_ensemble else 1,
            "HIDDEN": self.hidden, "UNITS": padded(self.hidden), "DEPTH": self.depth, "WAVES": self.waves,
            "PADDED": padded(self.waves), "HAS_SCALE": self.has_scale, "HAS_SHIFT": self.has_shift,
            "num_warps": 4, "num_stages": 1, "enable_fp_fusion": False,
        }  # fmt: skip

    def _network(self) -> tuple[Any, ...]:
        """Table, modulation, each with its strides, and all parameters in one piece."""
        weights = torch.cat([parameter.detach().flatten() for parameter in self.parameters])
        table, modulation = (t if t.stride(3) == 1 else t.contiguous() for t in (self.table, self.modulation))
        return table, *table.stride()[:3], modulation, *modulation.stride()[:3], weights

    def _lookup(self) -> tuple[Any, ...]:
        """Sizes, and the constants of `geometry.neighbours.look_up` and `geometry.grids.pixel_centers`."""
        constants = []
        for n in self.pixels.size:
            shifts = (NEIGHBOUR_EPSILON - 1 / n, NEIGHBOUR_EPSILON + 1 / n) if self.local_ensemble else (0.0, 0.0)
            constants += [*shifts, -1 + 1 / n, 2 / n]
        return *self.pixels.size, self.pixels.top, self.pixels.left, *constants


class Sampled(torch.autograd.Function):
    """`FusedStage.sample` without the skip picture. Of a position nothing is kept: backward computes it again."""

    @staticmethod
    def forward(
        ctx, stage: FusedStage, coord: Tensor, table: Tensor, modulation: Tensor, *parameters: Tensor
    ) -> Tensor:
        ctx.stage = replace(stage, skip=None, table=table.detach(), modulation=modulation.detach(), parameters=())
        ctx.save_for_backward(coord, table, modulation, *parameters)
        return replace(ctx.stage, parameters=parameters)._sample(coord)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_output: Tensor) -> tuple[Tensor | None, ...]:
        from models.native import triton_lmf

        coord, table, modulation, *parameters = ctx.saved_tensors
        stage = replace(ctx.stage, table=table, modulation=modulation, parameters=parameters)
        network = stage._network()
        d_table, d_modulation = (torch.zeros(t.shape, device=t.device) for t in (table, modulation))
        d_weights = torch.zeros(PARTS, len(network[-1]), device=table.device)
        batch, query, channel = d_output.stride()
        positions, tile = points(coord), GRADIENT_TILE
        if d_output.numel():
            triton_lmf.gradients[_programs(positions, tile, len(coord))](
                d_output, batch, channel, query, *positions, *network, *stage._lookup(), d_table, d_modulation,
                d_weights, PARTS, *table.shape[1:3], d_weights.shape[1],
                **stage.shape(tile), maxnreg=GRADIENT_REGISTERS,
            )  # fmt: skip
        summed = d_weights.sum(0).split([parameter.numel() for parameter in parameters])
        given = (part.view_as(parameter) for part, parameter in zip(summed, parameters, strict=True))
        return None, None, d_table, d_modulation, *given


def padded(width: int) -> int:
    """The side of a matrix product in Triton that holds `width` units."""
    return max(LEAST_SIDE, 1 << (width - 1).bit_length())


def grid_positions(grid: Grid, device: torch.device) -> tuple[Any, ...]:
    """A grid's positions as kernels take them: y and x, their strides, rows and columns."""
    return grid.rows.to(device), grid.columns.to(device), 0, 1, 0, 0, 0, 1, *grid.size


def points(coord: Tensor) -> tuple[Any, ...]:
    """Positions (B, Q, 2) as kernels take them: y and x, their strides, and one row of Q."""
    (batch, query, _), coord = coord.stride(), coord.detach()
    return coord[..., 0], coord[..., 1], batch, 0, query, batch, 0, query, 1, coord.shape[1]


def _programs(positions: tuple[Any, ...], tile: tuple[int, int], batch: int) -> tuple[int, int]:
    height, width = positions[-2:]
    return -(-height // tile[0]) * -(-width // tile[1]), batch
