"""Positions of separable grids, cells and scales; neighbours and warps are in the files beside this one.

A position is (y, x) in [-1, 1]; pixel i of n covers [-1 + 2i/n, -1 + 2(i+1)/n] and has its centre in the middle. A
*cell* is the size of one output pixel in the same unit, (2/H, 2/W). A length in LR pixels is `n / 2` times that. Only
`utils/geometry` computes positions: sub-pixel faults come from computing them in many places.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.geometry.sizes import Size, check_window

# Lookups of neighbours are shifted by this much, so that no position lies on the border of two LR pixels (LIIF).
NEIGHBOUR_EPSILON = 1e-6
CPU = torch.device("cpu")
INSIDE = (-1 + 1e-6, 1 - 1e-6)  # shifted lookups are clamped to this range


def pixel_centers(n: int, device: torch.device | None = None) -> Tensor:
    """(n,) float32 positions of the pixel centres; the two constants in double, product and sum in float32."""
    return torch.arange(n, dtype=torch.float32, device=device) * (2 / n) + (-1 + 1 / n)


def pixel_index(position: Tensor, n: int) -> Tensor:
    """Index (int64, 0..n-1) of the pixel that holds each position; ties round half to even, as grid_sample does."""
    return (((position + 1) * n - 1) / 2).round().clamp(0, n - 1).long()


def row_chunks(size: Size, queries: int) -> Iterator[slice]:
    """Rows of an (H, W) grid in chunks of at most `queries` positions (at least one row each)."""
    step = max(1, queries // max(1, size[1]))
    for start in range(0, size[0], step):
        yield slice(start, min(start + step, size[0]))


# Where in an output (..., H, W) values go: indices of its last two axes.
Place = tuple[Any, ...]


class OutputGrid(Protocol):
    """Positions and pixel sizes of an (H, W) output that a model renders."""

    @property
    def size(self) -> Size:
        """(H, W)."""
        ...

    def window(self, top: int, left: int, size: Size) -> "OutputGrid":
        """The part of `size` (H, W) whose first position is in row `top` and column `left`; InputError when there is
        none."""
        ...

    def cell(self, input_size: Size, largest_scale: float | None) -> Tensor:
        """Size of an output pixel in an (h, w) picture, (2,) or, where it varies, (2, h, w) per LR pixel; nowhere
        smaller than at the `largest_scale` that the model was trained for ("cell clip")."""
        ...

    def pixels(self, size: Size) -> tuple[range, range]:
        """Rows and columns of an (h, w) picture between which all pixels are that hold a position inside it."""
        ...

    def chunks(self, queries: int, device: torch.device = CPU) -> Iterator[tuple[Place, Tensor, Tensor | None]]:
        """All positions inside the picture, about `queries` at a time: their place in an output (..., H, W), where
        they fill (..., *S), and the positions (*S, 2) themselves, on `device`. An accelerator would have to be asked
        which are inside, so others may be among them; then a mask (*S) says which are."""
        ...

    def by_pixel_rows(self, height: int, step: int, first: int = 0) -> Iterator[tuple[slice, "OutputGrid", Place]]:
        """The grid split by the row of the picture, of `height` pixels, that holds a position: `step` rows at a time
        from `first` on, where all positions are, the part of the grid there, and the place of that part's output in the
        whole one."""
        ...


@dataclass(frozen=True)
class Grid:
    """A separable grid of output positions: `rows` (H,) and `columns` (W,), both sorted and in [-1, 1]. `full_size`
    (H', W') is the size of the picture whose pixels these are: (H, W) but for a window of it.

    Positions are on the CPU, whatever renders them: which LR pixels they read is found there, so that no device has to
    be asked and waited for.
    """

    rows: Tensor
    columns: Tensor
    full_size: Size

    @classmethod
    def of_size(cls, size: Size) -> "Grid":
        """The pixel centres of an (H, W) picture."""
        return cls(pixel_centers(size[0]), pixel_centers(size[1]), size)

    def window(self, top: int, left: int, size: Size) -> "Grid":
        """`size` (H, W) positions of this grid from row `top` and column `left` on; InputError when it has no such."""
        check_window(self.size, top, left, size)
        return replace(self, rows=self.rows[top : top + size[0]], columns=self.columns[left : left + size[1]])

    @property
    def size(self) -> Size:
        return len(self.rows), len(self.columns)

    def pixels(self, size: Size) -> tuple[range, range]:
        ends = (pixel_index(axis[[0, -1]], n).tolist() for axis, n in zip((self.rows, self.columns), size, strict=True))
        return tuple(range(first, last + 1) for first, last in ends)

    def coord(self) -> Tensor:
        """(H, W, 2) positions."""
        return torch.stack(torch.meshgrid(self.rows, self.columns, indexing="ij"), dim=-1)

    def cell(self, input_size: Size, largest_scale: float | None) -> Tensor:
        return cell_of(self.full_size, input_size, largest_scale)

    def coord_of(self, row: Tensor, column: Tensor) -> Tensor:
        """(*S, 2) positions of the rows and columns with these numbers, which broadcast to (*S)."""
        return torch.stack(torch.broadcast_tensors(self.rows[row], self.columns[column]), dim=-1)

    def row_chunks(self, queries: int) -> Iterator[tuple[slice, "Grid"]]:
        """`row_chunks`: (rows of the output, their grid)."""
        for rows in row_chunks(self.size, queries):
            yield rows, replace(self, rows=self.rows[rows])

    def on(self, device: torch.device) -> "Grid":
        """The same positions, on a device."""
        return replace(self, rows=self.rows.to(device), columns=self.columns.to(device))

    def chunks(self, queries: int, device: torch.device = CPU) -> Iterator[tuple[Place, Tensor, None]]:
        for rows, chunk in self.on(device).row_chunks(queries):
            yield (..., rows, slice(None)), chunk.coord(), None

    def by_pixel_rows(self, height: int, step: int, first: int = 0) -> Iterator[tuple[slice, "Grid", Place]]:
        for pixels, part in _by_pixels(self.rows, height, step, first):
            yield pixels, replace(self, rows=self.rows[part]), (..., part, slice(None))

    def by_pixel_columns(self, width: int, step: int, first: int = 0) -> Iterator[tuple[slice, "Grid", Place]]:
        """As `by_pixel_rows`, split by the column that holds a position."""
        for pixels, part in _by_pixels(self.columns, width, step, first):
            yield pixels, replace(self, columns=self.columns[part]), (..., part)


def _by_pixels(positions: Tensor, n: int, step: int, first: int) -> Iterator[tuple[slice, slice]]:
    """Of an axis of n pixels, `step` at a time from `first` on, where they hold any of the sorted positions, and
    these."""
    owner = pixel_index(positions, n)
    lowest, highest = owner[[0, -1]].tolist()
    borders = torch.arange(first + (lowest - first) // step * step, highest + 1 + step, step, device=owner.device)
    starts = torch.searchsorted(owner, borders).tolist()
    for pixel, start, stop in zip(borders.tolist(), starts, starts[1:], strict=False):
        if start < stop:
            yield slice(pixel, min(pixel + step, n)), slice(start, stop)


def cell_of(size: Size, input_size: Size | None = None, largest_scale: float | None = None) -> Tensor:
    """(2,) size of one output pixel, (2/H, 2/W).

    With `input_size` (h, w) and `largest_scale`, cells are clipped ("cell clip"): none is smaller than at the largest
    scale the model was trained for; per axis cell * max(scale / largest_scale, 1).
    """
    cell = [2 / n for n in size]
    if input_size is not None and largest_scale is not None:
        cell = [c * max(n / n_in / largest_scale, 1) for c, n, n_in in zip(cell, size, input_size, strict=True)]
    return torch.tensor(cell, dtype=torch.float32)


def cell_in_pixels(cell: Tensor, size: Size) -> Tensor:
    """Cell in LR pixels, for per-pixel arithmetic: (B, 2) -> (B, 2, 1, 1), a map (B, 2, h, w) keeps its shape."""
    if cell.dim() == 2:
        cell = cell[:, :, None, None]
    return cell * _lengths(size, cell)[:, None, None]


def _lengths(size: Size, like: Tensor) -> Tensor:
    """(2,) sides as numbers of the type of `like`; while a graph is traced they stay what the graph computes."""
    return torch.stack([torch.as_tensor(n, dtype=like.dtype, device=like.device) for n in size])


def first_pixels(batch: int, size: Size, device: torch.device) -> Tensor:
    """(B,) index of each picture's first pixel when the pixels of all (h, w) pictures are numbered consecutively."""
    return torch.arange(batch, device=device) * (size[0] * size[1])


def cell_at(cell: Tensor, coord: Tensor) -> Tensor:
    """Output pixel size at the positions `coord` (B, Q, 2): (B, 1, 2) of a constant one (B, 2), (B, Q, 2) of a map."""
    return cell[:, None] if cell.dim() == 2 else sample_nearest(cell.permute(0, 2, 3, 1), coord)


def positions_of(index: Tensor, size: Size) -> Tensor:
    """(..., 2) positions of the pixels with row-major `index` (...) in an (H, W) picture."""
    rows = index.div(size[1], rounding_mode="floor")
    rows_columns = (rows, index - rows * size[1])
    return torch.stack([pixel_centers(n, index.device)[i] for n, i in zip(size, rows_columns, strict=True)], dim=-1)


def offset_from_corner(position: Tensor, cell: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """For output pixels of size `cell` centred at `position` (*S): the LR pixel that holds each one's upper-left
    corner, and how far that is from the LR pixel's own, in LR pixels (MetaSR): index (*S) and offset (*S) in [0,
    1)."""
    corner = position - cell / 2
    index = pixel_index((corner + NEIGHBOUR_EPSILON).clamp(*INSIDE), n)
    return index, (corner - (pixel_centers(n, position.device)[index] - 1 / n)) * n / 2


def attention_reach(cell: Tensor, size: Size) -> Tensor:
    """Distance from a position to CiaoSR's neighbours, (..., 2) in positions, for cells (..., 2)."""
    steps = _lengths(size, cell) - 1
    return (1 - cell) / steps.clamp(min=1e-9)


def sample_bilinear(picture: Tensor, coord: Tensor) -> Tensor:
    """Bilinear samples of `picture` (B, C, h, w), border replicated, at `coord` (B, ..., 2): (B, ..., C)."""
    flat = coord.flip(-1).flatten(1, -2)[:, None]  # (B, 1, Q, 2) as (x, y)
    samples = F.grid_sample(picture, flat, mode="bilinear", padding_mode="border", align_corners=False)
    return samples[:, :, 0].transpose(1, 2).unflatten(1, coord.shape[1:-1])


def sample_nearest(values: Tensor, coord: Tensor) -> Tensor:
    """`values` (B, h, w, C) of the pixels that hold the positions `coord` (B, Q, 2): (B, Q, C)."""
    height, width = values.shape[1:3]
    index = pixel_index(coord[..., 0], height) * width + pixel_index(coord[..., 1], width)
    return values.flatten(1, 2).gather(1, index[..., None].expand(-1, -1, values.shape[3]))
