"""Positions of separable grids, cells and scales; neighbours and warps are in the files beside this one.

A position is (y, x) in [-1, 1]; pixel i of n covers [-1 + 2i/n, -1 + 2(i+1)/n] and has its centre in the middle. A
*cell* is the size of one output pixel in the same unit, (2/H, 2/W). "LR pixels" as a unit of length means `n / 2`
times that. Sub-pixel faults come from computing positions in many places: `utils/geometry` does, and nobody else.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.errors import InputError

Size = tuple[int, int]
Scale = tuple[float, float]

# The four-corner lookups are shifted by this much, so that no position lies on the border of two LR pixels (LIIF).
CORNER_EPSILON = 1e-6
INSIDE = (-1 + 1e-6, 1 - 1e-6)  # where shifted lookups are clamped to
LARGEST_OUTPUT = 2**30  # pixels: 12 GB while they are computed, 3 GB more as 8-bit RGB


def pixel_centers(n: int, device: torch.device | None = None) -> Tensor:
    """(n,) float32 positions of the pixel centres; the two constants in double, product and sum in float32."""
    return torch.arange(n, dtype=torch.float32, device=device) * (2 / n) + (-1 + 1 / n)


def pixel_index(position: Tensor, n: int) -> Tensor:
    """Index (int64, 0..n-1) of the pixel that holds each position; ties round half to even, as grid_sample does."""
    return (((position + 1) * n - 1) / 2).round().clamp(0, n - 1).long()


def row_bands(size: Size, queries: int) -> Iterator[slice]:
    """Rows of an (H, W) grid in bands of at most `queries` positions (at least one row each)."""
    step = max(1, queries // max(1, size[1]))
    for start in range(0, size[0], step):
        yield slice(start, min(start + step, size[0]))


@dataclass(frozen=True)
class Grid:
    """A separable grid of output positions: `rows` (H,) and `columns` (W,), both in [-1, 1]."""

    rows: Tensor
    columns: Tensor

    @classmethod
    def of_size(cls, size: Size, device: torch.device | None = None) -> "Grid":
        """The pixel centres of an (H, W) picture."""
        return cls(pixel_centers(size[0], device), pixel_centers(size[1], device))

    @property
    def size(self) -> Size:
        return len(self.rows), len(self.columns)

    def coord(self) -> Tensor:
        """(H, W, 2) positions."""
        return torch.stack(torch.meshgrid(self.rows, self.columns, indexing="ij"), dim=-1)

    def bands(self, queries: int) -> Iterator[tuple[slice, "Grid"]]:
        """`row_bands`: (rows of the output, the band's grid)."""
        for band in row_bands(self.size, queries):
            yield band, replace(self, rows=self.rows[band])


def parse_scale(value: float | str | Sequence[float]) -> Scale:
    """(height factor, width factor) of 2.5, [3, 1.5] or the text `3x1.5`; InputError for anything else."""
    parts = value.lower().split("x") if isinstance(value, str) else value
    try:
        factors = [float(part) for part in (parts if isinstance(parts, Sequence) else [parts])]
    except (TypeError, ValueError):
        factors = []
    if len(factors) not in (1, 2) or not all(0 < factor < math.inf for factor in factors):
        raise InputError(f"expected a number above 0 such as 2.5, or HEIGHTxWIDTH such as 3x1.5, not '{value}'")
    return factors[0], factors[-1]


def scale_text(factors: Scale) -> str:
    """The inverse of `parse_scale`: `2.5`, `3x1.5`."""
    return f"{factors[0]:g}" if factors[0] == factors[1] else f"{factors[0]:g}x{factors[1]:g}"


def output_size(size: Size, scale: Scale) -> Size:
    """(H, W) of an (h, w) picture enlarged by `scale` = (height factor, width factor), rounded half up, at least 1."""
    for factor in scale:
        if not (math.isfinite(factor) and factor > 0):
            raise InputError(f"scale {factor:g} is not possible; give a number above 0")
    # Beyond any possible output, and still a number
    height, width = (
        max(1, math.floor(min(n * factor, LARGEST_OUTPUT + 1) + 0.5)) for n, factor in zip(size, scale, strict=True)
    )
    return check_output_size((height, width))


def check_output_size(size: Size) -> Size:
    """`size`, or InputError when a side is below 1 or the picture would not fit any memory."""
    if min(size) < 1 or size[0] * size[1] > LARGEST_OUTPUT:
        raise InputError(
            f"an output of {size[1]}x{size[0]} pixels is not possible; sides from 1, at most {LARGEST_OUTPUT} pixels"
        )
    return size


def cell_of(size: Size, input_size: Size | None = None, largest_scale: float | None = None) -> Tensor:
    """(2,) size of one output pixel, (2/H, 2/W).

    With `input_size` (h, w) and `largest_scale`, "cell clip": no cell is smaller than at the largest scale the model
    was trained for; per axis cell * max(scale / largest_scale, 1).
    """
    cell = [2 / n for n in size]
    if input_size is not None and largest_scale is not None:
        cell = [c * max(n / n_in / largest_scale, 1) for c, n, n_in in zip(cell, size, input_size, strict=True)]
    return torch.tensor(cell, dtype=torch.float32)


def cell_in_pixels(cell: Tensor, size: Size) -> Tensor:
    """Cell in LR pixels, for per-pixel arithmetic: (B, 2) -> (B, 2, 1, 1), a map (B, 2, h, w) keeps its shape."""
    if cell.dim() == 2:
        cell = cell[:, :, None, None]
    return cell * cell.new_tensor(size)[:, None, None]


def first_pixels(batch: int, size: Size, device: torch.device) -> Tensor:
    """(B,) index of each picture's first pixel when the pixels of all (h, w) pictures are numbered in a row."""
    return torch.arange(batch, device=device) * (size[0] * size[1])


def cell_at(cell: Tensor, coord: Tensor) -> Tensor:
    """Output pixel size at the positions `coord` (B, Q, 2): (B, 1, 2) of a constant one (B, 2), (B, Q, 2) of a map."""
    return cell[:, None] if cell.dim() == 2 else sample_nearest(cell.permute(0, 2, 3, 1), coord)


def positions_of(index: Tensor, size: Size) -> Tensor:
    """(..., 2) positions of the pixels with row-major `index` (...) in an (H, W) picture."""
    rows = index.div(size[1], rounding_mode="floor")
    rows_columns = (rows, index - rows * size[1])
    return torch.stack([pixel_centers(n, index.device)[i] for n, i in zip(size, rows_columns, strict=True)], dim=-1)


def positions_in_rows(position: Tensor, n: int, rows: slice) -> Tensor:
    """Positions along an axis of n pixels as positions along some of these alone."""
    count = rows.stop - rows.start
    return (position + 1) * (n / count) - (2 * rows.start / count + 1)


def offset_from_corner(position: Tensor, cell: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """For output pixels of size `cell` centred at `position` (*S): the LR pixel that holds each one's upper-left
    corner, and how far that is from the LR pixel's own, in LR pixels (MetaSR): index (*S) and offset (*S) in [0,
    1)."""
    corner = position - cell / 2
    index = pixel_index((corner + CORNER_EPSILON).clamp(*INSIDE), n)
    return index, (corner - (pixel_centers(n, position.device)[index] - 1 / n)) * n / 2


def attention_reach(cell: Tensor, size: Size) -> Tensor:
    """How far around a position CiaoSR looks for its neighbours, (..., 2) in positions, for cells (..., 2)."""
    steps = cell.new_tensor(size) - 1
    return (1 - cell) / steps.clamp(min=1e-9)


def sample_bilinear(picture: Tensor, coord: Tensor) -> Tensor:
    """Bilinear samples of `picture` (B, C, h, w), border replicated, at `coord` (B, ..., 2): (B, ..., C)."""
    flat = coord.flip(-1).flatten(1, -2)[:, None]  # (B, 1, Q, 2) as (x, y)
    samples = F.grid_sample(picture, flat, mode="bilinear", padding_mode="border", align_corners=False)
    return samples[:, :, 0].transpose(1, 2).unflatten(1, coord.shape[1:-1])


def sample_nearest(table: Tensor, coord: Tensor) -> Tensor:
    """Rows of `table` (B, h, w, C) of the pixels that hold the positions `coord` (B, Q, 2): (B, Q, C)."""
    height, width = table.shape[1:3]
    index = pixel_index(coord[..., 0], height) * width + pixel_index(coord[..., 1], width)
    return table.flatten(1, 2).gather(1, index[..., None].expand(-1, -1, table.shape[3]))
