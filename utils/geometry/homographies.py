"""Warps: homographies, their files, and the positions and pixel sizes under them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from utils.files import atomic_file
from utils.geometry.grids import CPU, Place, pixel_index, row_chunks
from utils.geometry.matrices import check_homography, facing_matrix, rotation_matrix, window_matrix
from utils.geometry.sizes import Scale, Size, check_window

# Stronger reductions do not stretch resampling kernels any further, because their cost grows with the square.
LARGEST_CELL = 8.0
SMALLEST_DEPTH = 1e-12  # in front of the horizon, relative to the depth of the picture's centre
QUERIES = 1 << 16  # positions looked at together


@dataclass(frozen=True)
class WarpedGrid:
    """The pixels of a warped (H, W) output as positions in an (h, w) picture: what `Grid` is along a picture's own
    axes.

    `size` is (H, W). Output pixels larger than `largest_cell` input pixels count as that large (see `Homography.cell`).
    """

    homography: "Homography"
    input_size: Size
    size: Size
    largest_cell: float = LARGEST_CELL

    @cached_property
    def forms(self) -> Tensor:
        """(3, 3), float64 on the CPU: times an output's (column, row, 1) it gives y and x times depth, and depth."""
        height, width = self.input_size
        x, y, w = torch.linalg.inv(self.homography.facing(self.input_size))  # pixels of the input, times w
        return torch.stack([y * (2 / height) + w * (1 / height - 1), x * (2 / width) + w * (1 / width - 1), w])

    def cell(self, input_size: Size, largest_scale: float | None) -> Tensor:
        return self.homography.cell(input_size, largest_scale, self.largest_cell)

    def positions(self, rows: range, device: torch.device = CPU) -> tuple[Tensor, Tensor]:
        """Positions of all pixels of some rows, (2, rows, W), y and x, float64, clipped to -1..1; and which of them lie
        inside the picture and in front of the horizon, (rows, W) bool."""
        spans = range(self.size[1]), rows
        x, y = (torch.arange(n.start, n.stop, dtype=torch.float64, device=device) for n in spans)
        return self.positions_of(y[:, None], x)

    def positions_of(self, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """`positions` of the output's rows `y` and columns `x`, which broadcast to (*S): (2, *S) and (*S)."""
        *positions, depth = (a * x + (b * y + c) for a, b, c in self.forms)
        inside = depth > SMALLEST_DEPTH
        depth.clamp_(min=SMALLEST_DEPTH)
        coord = depth.new_empty(2, *depth.shape)
        for position, clipped in zip(positions, coord, strict=True):
            torch.clamp(position.div_(depth), -1, 1, out=clipped)
            inside &= clipped == position
        return coord, inside

    def window(self, top: int, left: int, size: Size) -> "WarpedGrid":
        """`size` (H, W) pixels of this output from row `top` and column `left` on; InputError when it has no such."""
        check_window(self.size, top, left, size)
        return self._from(top, left, size)

    def grown(self) -> "WarpedGrid":
        """With a row and a column more on each side."""
        return self._from(-1, -1, (self.size[0] + 2, self.size[1] + 2))

    def _from(self, top: int, left: int, size: Size) -> "WarpedGrid":
        matrix = window_matrix(self.homography.matrix.numpy(), top, left)
        return replace(self, homography=Homography(matrix), size=size)

    def inside(self) -> Tensor:
        """Mask of output pixels whose centre lies inside the picture: (H, W) bool on the CPU."""
        inside = torch.empty(self.size, dtype=torch.bool, device="cpu")
        for rows in row_chunks(self.size, QUERIES):
            inside[rows] = self.positions(range(rows.start, rows.stop))[1]
        return inside

    def chunks(self, queries: int, device: torch.device = CPU) -> Iterator[tuple[Place, Tensor, Tensor | None]]:
        for rows in row_chunks(self.size, queries):
            coord, inside = self.positions(range(rows.start, rows.stop), _of_doubles(device))
            if not inside.is_cpu:
                yield (..., rows, slice(None)), coord.permute(1, 2, 0).float(), inside
            elif inside.all():
                yield (..., rows, slice(None)), coord.permute(1, 2, 0).float().to(device), None
            elif inside.any():
                row, column = inside.nonzero().unbind(1)
                coord = coord[:, row, column].T.float().to(device)
                yield (..., (row + rows.start).to(device), column.to(device)), coord, None

    def pixels(self, size: Size) -> tuple[range, range]:
        ends = []
        for _, coord, _ in self.chunks(QUERIES):
            near = torch.stack([pixel_index(coord[..., axis], n) for axis, n in enumerate(size)]).flatten(1)  # (2, Q)
            ends.append(torch.stack([near.amin(1), near.amax(1) + 1]))
        if not ends:
            return range(0), range(0)
        ends = torch.stack(ends)
        first, last = ends[:, 0].amin(0).tolist(), ends[:, 1].amax(0).tolist()
        return range(first[0], last[0]), range(first[1], last[1])

    def by_pixel_rows(self, height: int, step: int, first: int = 0) -> Iterator[tuple[slice, "WarpedPart", Place]]:
        found: list[list[Tensor]] = [[] for _ in range(first, height, step)]
        for rows in row_chunks(self.size, QUERIES):
            coord, inside = self.positions(range(rows.start, rows.stop))
            part = torch.where(inside, (pixel_index(coord[0].float(), height) - first) // step, -1).flatten()
            order = part.argsort(stable=True)
            counts = torch.bincount(part + 1, minlength=len(found) + 1).tolist()
            pixels = (order + rows.start * self.size[1]).int().split(counts)
            for kept, of_part in zip(found, pixels[1:], strict=True):
                kept.append(of_part.clone())
        for number, kept in enumerate(found):
            row, pixels = first + number * step, torch.cat(kept)
            kept.clear()
            if len(pixels):
                yield slice(row, min(row + step, height)), WarpedPart(self, pixels), (...,)


@dataclass(frozen=True)
class WarpedPart:
    """Some pixels of a warped output, all inside the picture: their row-major numbers, `pixels` (N,) int32."""

    grid: WarpedGrid
    pixels: Tensor

    @property
    def size(self) -> Size:
        return self.grid.size

    def cell(self, input_size: Size, largest_scale: float | None) -> Tensor:
        return self.grid.cell(input_size, largest_scale)

    def chunks(self, queries: int, device: torch.device = CPU) -> Iterator[tuple[Place, Tensor, None]]:
        for pixels in self.pixels.to(_of_doubles(device)).split(queries):
            row, column = pixels.div(self.size[1], rounding_mode="floor").long(), (pixels % self.size[1]).long()
            coord, _ = self.grid.positions_of(row, column)
            yield (..., row.to(device), column.to(device)), coord.T.float().to(device), None


def _of_doubles(device: torch.device) -> torch.device:
    """The device, or the CPU for one without float64."""
    return CPU if device.type == "mps" else device


@dataclass(frozen=True)
class Homography:
    """A map of input pixels (x, y, 1) to output pixels; the centres of pixels are whole numbers.

    `matrix` (3, 3), a tensor or an array (see `matrix_of` for texts and files), kept in float64 on the CPU. Raises
    InputError for a singular matrix or values that are not finite.
    """

    matrix: Tensor

    def __post_init__(self) -> None:
        matrix = torch.as_tensor(self.matrix, dtype=torch.float64, device="cpu").detach()
        object.__setattr__(self, "matrix", matrix)
        check_homography(matrix.numpy())

    @classmethod
    def scaling(cls, scale: Scale) -> "Homography":
        """Enlarging by (height factor, width factor) from the picture's upper left corner."""
        y, x = scale
        return cls(np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]))

    @classmethod
    def rotation(cls, degrees: float, size: Size, output_size: Size, scale: Scale = (1, 1)) -> "Homography":
        """Enlarging an (h, w) picture by `scale` and turning it counter-clockwise, centre to centre of the output."""
        return cls(rotation_matrix(degrees, size, output_size, scale))

    def inverse(self) -> "Homography":
        return Homography(torch.linalg.inv(self.matrix))

    def facing(self, size: Size) -> Tensor:
        """The matrix with the factor that makes the third coordinate 1 at the centre of an (h, w) picture."""
        return torch.from_numpy(facing_matrix(self.matrix.numpy(), size))

    def grid(self, size: Size, output_size: Size, antialias: bool = True) -> WarpedGrid:
        """The pixels of the warped (H, W) output of an (h, w) picture; without `antialias`, as published, no output
        pixel counts as larger than an input pixel."""
        return WarpedGrid(self, size, output_size, LARGEST_CELL if antialias else 1.0)

    def interior(self, size: Size, output_size: Size, frame: int) -> Tensor:
        """Mask of output pixels whose nearest input pixel is at least `frame` pixels from the border: (H, W) bool."""
        coord, interior = self.grid(size, output_size).positions(range(output_size[0]))
        for position, n in zip(coord, size, strict=True):
            pixel = (((position + 1) * n - 1) / 2).round()
            interior &= (pixel >= frame) & (pixel <= n - 1 - frame)
        return interior

    def cell(self, size: Size, largest_scale: float | None = None, largest_cell: float = LARGEST_CELL) -> Tensor:
        """Size of an output pixel at each pixel of an (h, w) picture, (2, h, w) in positions.

        Per axis the longest step that one output pixel in any direction makes, which is the length of a row of the
        inverse map's derivative: exact for scalings and rotations. The cell is at least the one at `largest_scale` and
        at most `largest_cell` input pixels.
        """
        matrix = self.facing(size)
        inverse = torch.linalg.inv(matrix)
        y, x = torch.arange(size[0], dtype=torch.float64), torch.arange(size[1], dtype=torch.float64)
        a, b, c = matrix[2]
        w = (a * x + (b * y[:, None] + c)).clamp(min=1e-9)  # (h, w)
        # The third coordinate of the inverse is 1 / w where that of the map is w: the quotient rule, divided by 1 / w.
        derivatives = (inverse[row, :2] - position[:, None] * inverse[2, :2] for row, position in ((1, y), (0, x)))
        along_y, along_x = (derivative.norm(dim=1) for derivative in derivatives)
        smallest = 0.0 if largest_scale is None else 1 / largest_scale
        cell = torch.stack([along_y[:, None] * w, along_x * w]).clamp_(smallest, largest_cell)  # (2, h, w), y first
        return (cell * 2 / torch.tensor(size)[:, None, None]).float()


def write_homography(path: str | Path, homography: Homography) -> None:
    """As text, three rows of three numbers; reading it gives the same matrix."""
    with atomic_file(path) as temporary:
        np.savetxt(temporary, homography.matrix.numpy(), "%.17g")
