"""Sub-pixel convolution (Shi et al., CVPR 2016) as a continuous model: a picture at a fixed factor, read anywhere."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.continuous import ContinuousModel, Latent
from models.encoders import make_encoder
from models.native import backends
from models.native.resampler import paint_subpixel
from models.registry import make, register
from models.resampling.filters import Bicubic
from models.resampling.resampler import ResamplingField
from utils import progress
from utils.config import Count
from utils.geometry.grids import Grid, OutputGrid, cell_in_pixels
from utils.geometry.neighbours import PixelWindow

HYPERNET = {"name": "mlp", "args": {"hidden_list": [128]}}
BAND_BYTES = 1 << 21  # of the enlarged picture held at a time: stays in a processor's cache


@register("subpixel")
class SubPixel(ContinuousModel):
    """Latent MLP on [3x3 unfolded features, cell] gives factor x factor colours per LR pixel, which are added to the
    bilinearly enlarged LR picture; positions are read from that picture by cubic convolution (a = -0.75).

    The MLP sees the output pixel size, so what it gives is sharp or smooth as that size needs, and nothing but 16 taps
    of three channels runs per output pixel: no render MLP, no seams between LR pixels.
    """

    native_library = "subpixel"

    def __init__(self, encoder_spec: Mapping[str, Any], hypernet_spec: Mapping[str, Any] = HYPERNET, factor: Count = 4):
        super().__init__()
        self.factor = factor
        self.encoder = make_encoder(encoder_spec)
        self.hypernet = make(hypernet_spec, in_dim=9 * self.encoder.out_dim + 2, out_dim=3 * factor**2)
        self.filter = Bicubic(antialias=False)

    @property
    def context(self) -> int | None:
        return getattr(self.encoder, "reach", None)

    @property
    def pixel_bytes(self) -> int:
        return super().pixel_bytes + 4 * 3 * self.factor**2

    def field(self, latent: Latent, cell: Tensor) -> ResamplingField:
        return self.field_of_part(latent, cell, latent.pixels)

    def field_of_part(self, latent: Latent, cell: Tensor, pixels: PixelWindow) -> ResamplingField:
        """`field` of some of the latent's pixels."""
        details = F.pixel_shuffle(self.details(latent, cell, pixels), self.factor)
        image = F.interpolate(surrounded(latent, pixels), scale_factor=self.factor, mode="bilinear")
        cut = slice(self.factor, -self.factor)
        picture, window = image[..., cut, cut] + details, enlarge(pixels, self.factor)
        cell = torch.zeros(len(cell), 2, dtype=cell.dtype)  # on the CPU, as filters take it
        return self.filter.field(Latent(picture, picture, window=window), cell)

    def details(self, latent: Latent, cell: Tensor, pixels: PixelWindow) -> Tensor:
        """(B, 3 * factor**2, h, w) that is added to some of the latent's pixels, in the order of `F.pixel_shuffle`."""
        around = pixels.grown(1).clipped(latent.pixels)
        here, inner, cell = around.within(latent.pixels), pixels.within(around), cell_in_pixels(cell, latent.size)
        cell = cell if cell.shape[-1] == 1 else pixels.of(cell)
        return self.hypernet.on_latents(here.of(latent.features), inner, cell)

    def sample(self, field: ResamplingField, coord: Tensor) -> Tensor:
        # As `filter.sample`, in one operation of PyTorch instead of 16: half the time of a training step
        picture = field.table.permute(0, 3, 1, 2)
        grid = coord.flip(-1)[:, None].to(picture.dtype)
        values = F.grid_sample(picture, grid, "bicubic", padding_mode="border", align_corners=False)
        return values[:, :, 0].transpose(1, 2)

    def paint(self, field: ResamplingField, grid: OutputGrid, output: Tensor) -> None:
        self.filter.paint(field, grid, output)

    def _paint_latent(self, latent: Latent, grid: OutputGrid, output: Tensor) -> None:
        """In bands of rows that fit a processor's cache, of the columns that the grid reads."""
        if not isinstance(grid, Grid):
            super()._paint_latent(latent, grid, output)
            return
        cell, columns = self.cell(latent, grid), grid.pixels(latent.size)[1]
        read = math.ceil(2 / self.factor)  # LR pixels that hold two pixels of the enlarged picture
        library = backends.choose(self.native_library, latent.features, latent.image, *self.hypernet.parameters())
        for rows, band, place in grid.by_pixel_rows(latent.size[0], self._band(latent, columns), latent.pixels.top):
            pixels = PixelWindow.of_spans(latent.size, rows, columns).grown(read).clipped(latent.pixels)
            if library is None:
                self.paint(self.field_of_part(latent, cell, pixels), band, output[place])
                continue
            enlarged = enlarge(pixels, self.factor)
            axes = zip((band.rows, band.columns), enlarged.size, (enlarged.top, enlarged.left), strict=True)
            taps = [self._taps(*axis) for axis in axes]
            details = self.details(latent, cell, pixels).contiguous()
            paint_subpixel(library, details, surrounded(latent, pixels).contiguous(), self.factor, taps, output[place])
            progress.advance(band.size[0] * band.size[1])

    def _taps(self, positions: Tensor, n: int, first: int) -> tuple[Tensor, Tensor]:
        """The filter's taps along an axis of n pixels, counted from `first` on, (4, N) int32, and their weights."""
        taps = self.filter.taps(positions, n, torch.ones(1), 1).from_pixel(first)
        weights = self.filter.kernel.profile(taps.distance.abs()) * taps.inside
        return taps.index.int(), weights / weights.sum(0)

    def _band(self, latent: Latent, columns: range) -> int:
        """How many rows of LR pixels to hold at a time."""
        bytes_per_row = 12 * self.factor**2 * len(columns) * len(latent.image)
        return max(4, BAND_BYTES // bytes_per_row) if latent.image.is_cpu else latent.size[0]

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        return [(self.hypernet, pixels), (48, queries)]


def enlarge(pixels: PixelWindow, factor: int) -> PixelWindow:
    """The same part of a picture with `factor` times as many rows and columns."""
    height, width = pixels.size
    edges = (factor * n for n in (pixels.top, pixels.left, pixels.height, pixels.width))
    return PixelWindow((factor * height, factor * width), *edges)


def surrounded(latent: Latent, pixels: PixelWindow) -> Tensor:
    """Some pixels of the latent's image with one more on each side, its border replicated: (B, 3, h + 2, w + 2)."""
    around, held = pixels.grown(1).clipped(latent.pixels), latent.pixels
    ends = [
        (1 - (inner.start - outer.start), 1 - (outer.stop - inner.stop))
        for inner, outer in ((pixels.columns, around.columns), (pixels.rows, around.rows))
    ]
    return F.pad(around.within(held).of(latent.image), (*ends[0], *ends[1]), mode="replicate")
