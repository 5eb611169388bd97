"""The one interface of the project: a picture is encoded once and rendered on any grid of positions."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from models import native
from models.encoders.bands import encode_by_bands
from models.native.positions import warped_positions
from utils.geometry.grids import Grid, Size
from utils.geometry.homographies import WarpedGrid

# Size of a band's or block's widest intermediate: larger ones leave the CPU's cache and are slower.
BAND_BYTES = 4 << 20


@dataclass(frozen=True)
class Latent:
    """An encoded picture: `features` (B, C, h, w) and the normalised `image` (B, 3, h, w) itself."""

    features: Tensor
    image: Tensor

    def rows(self, rows: slice) -> "Latent":
        """Some rows of LR pixels; the image stays whole."""
        return replace(self, features=self.features[:, :, rows])


@dataclass(frozen=True)
class Field:
    """A picture ready for one output pixel size: `table` (B, h, w, C), what each LR pixel contributes, and `skip`
    (B, 3, h, w), a picture to add at every position by bilinear interpolation, or None."""

    table: Tensor
    skip: Tensor | None = None

    @property
    def batch(self) -> int:
        return self.table.shape[0]

    @property
    def size(self) -> Size:
        """(h, w) of the LR picture."""
        return self.table.shape[1], self.table.shape[2]


class ContinuousModel(nn.Module):
    """Base of every model: encode -> field -> sample or render.

    Models keep no state between calls: a latent and a field are small frozen dataclasses that the caller holds, so
    one latent serves any number of sizes. Subclasses set `encoder` (or implement `encode`) and implement `field` and
    `sample`; `render` works by itself and may be overridden where a separable grid allows something faster.
    """

    trained_scales: tuple[float, float] | None = (1.0, 4.0)
    """Smallest and largest scale the model has seen; callers clip the cell at the largest (`cell_of`)."""

    normalization: tuple[float, float] = (0.5, 0.5)
    """(sub, div) of pictures in [0, 1] for this model, unless a config's `data_norm` or a checkpoint says otherwise."""

    floats_per_query: int = 64
    """Size of the widest intermediate for one position: decides how many positions a band holds."""

    backend: str = "auto"
    """What computes on a CPU, see `models.native.choose`."""

    kernel_library: str | None = None
    """Name of the native kernels that the model can use."""

    encoder: nn.Module

    def encode(self, image: Tensor) -> Latent:
        """(B, 3, h, w) normalised picture -> latent: everything that does not depend on the output."""
        return Latent(encode_by_bands(self.encoder, image), image)

    def field(self, latent: Latent, cell: Tensor) -> Field:
        """Latent and output pixel size -> field: everything per LR pixel that depends on the output pixel size.

        `cell` is (B, 2), one (height, width) per picture in the unit of positions, or a map (B, 2, h, w).
        """
        raise NotImplementedError

    def sample(self, field: Field, coord: Tensor) -> Tensor:
        """Values (B, Q, 3), normalised, at any positions (B, Q, 2), (y, x) in [-1, 1]."""
        raise NotImplementedError

    def render(self, field: Field, grid: Grid) -> Tensor:
        """Values (B, 3, H, W), normalised, on a whole grid; beyond them memory is bounded by a band of rows."""
        output = field.table.new_empty(field.batch, self.channels(field), *grid.size)
        for rows, band in grid.bands(self.band_queries(field)):
            coord = band.coord().flatten(0, 1).expand(field.batch, -1, -1)  # (B, rows * W, 2)
            output[:, :, rows] = self.sample(field, coord).transpose(1, 2).unflatten(2, band.size)
        return output

    def render_latent(self, latent: Latent, cell: Tensor, grid: Grid) -> Tensor:
        """`render` of the latent's `field`, for a single size: models may do without holding all of the field."""
        return self.render(self.field(latent, cell), grid)

    def warp(self, field: Field, grid: WarpedGrid) -> tuple[Tensor, Tensor]:
        """Values (B, 3, H, W), normalised, on a warped grid, and which of its pixels lie inside the picture, (H, W) on
        the CPU; the others hold any finite value."""
        output = field.table.new_zeros(field.batch, self.channels(field), *grid.size)
        inside = torch.empty(grid.size, dtype=torch.bool, device="cpu")
        for rows, coord, inside[rows] in self.warped_bands(grid, self.band_queries(field)):
            # Inside is a run of columns, but for slanted ends: cheaper to sample than positions here and there.
            found = inside[rows].any(0).nonzero()
            if len(found):
                columns = slice(int(found[0]), int(found[-1]) + 1)
                shown = output[:, :, rows, columns]
                coord = coord[:, :, columns].flatten(1).float().to(output.device)  # (2, N)
                values = self.sample(field, coord.T.expand(field.batch, -1, -1))
                shown[:] = values.transpose(1, 2).unflatten(2, shown.shape[2:])
        return output, inside

    def warp_latent(self, latent: Latent, cell: Tensor, grid: WarpedGrid) -> tuple[Tensor, Tensor]:
        """`warp` of the latent's `field`: models may do without holding all of the field."""
        return self.warp(self.field(latent, cell), grid)

    def warped_bands(self, grid: WarpedGrid, queries: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """`grid.bands`, by the kernels where there are some."""
        library = native.choose(self.backend, "positions")
        return grid.bands(queries, WarpedGrid.positions if library is None else partial(warped_positions, library))

    def forward(self, image: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """(B, 3, h, w) pictures, (B, Q, 2) positions, (B, 2) output pixel sizes -> (B, Q, 3), all normalised."""
        return self.sample(self.field(self.encode(image), cell), coord)

    def channels(self, field: Field) -> int:
        """How many values a position has: 3 but for models that resample pictures of any number of channels."""
        return 3

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        """The networks behind the encoder and how often each runs for that many LR pixels and positions, as the papers
        count; a number in a network's place is multiply-adds (see `tools.bench.costs`)."""
        return []

    def band_queries(self, field: Field) -> int:
        """Positions per picture that one band should hold."""
        return max(1, BAND_BYTES // (torch.finfo(field.table.dtype).bits // 8 * self.floats_per_query * field.batch))
