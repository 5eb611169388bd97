"""Fixed interpolation filters as models of the common interface: the baselines of every table."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.continuous import ContinuousModel, Field, Latent
from models.registry import register
from utils.coords import Grid, axis_taps, cell_in_pixels, sample_nearest

FILTERS = ("nearest", "bilinear", "bicubic", "catmull-rom", "lanczos")


@register("nearest")
class Nearest(ContinuousModel):
    """The LR pixel that holds the position."""

    trained_scales = None

    def encode(self, image: Tensor) -> Latent:
        return Latent(image, image)

    def field(self, latent: Latent, cell: Tensor) -> Field:
        return Field(latent.image.permute(0, 2, 3, 1))

    def sample(self, field: Field, coord: Tensor) -> Tensor:
        return sample_nearest(field.table, coord)


@dataclass(frozen=True, kw_only=True)
class FilterField(Field):
    """The picture as `table` and how far the kernel is stretched, (B, 2, 1, 1) or per LR pixel (B, 2, h, w)."""

    stretch: Tensor


class Filter(ContinuousModel):
    """Weighted sum of the pixels within `support` LR pixels of a position: separable, border replicated, no parameters.

    Where output pixels are larger than input pixels the kernel is stretched to their size (`antialias`).
    """

    trained_scales = None
    support: float

    def __init__(self, antialias: bool = True):
        super().__init__()
        self.antialias = antialias
        self.floats_per_query = 3 * math.ceil(2 * self.support) ** 2

    def kernel(self, distance: Tensor) -> Tensor:
        """Weight at a distance >= 0 in (stretched) LR pixels; 0 from `support` on."""
        raise NotImplementedError

    def encode(self, image: Tensor) -> Latent:
        return Latent(image, image)

    def field(self, latent: Latent, cell: Tensor) -> FilterField:
        output_pixel = cell_in_pixels(cell, latent.image.shape[-2:]) / 2
        stretch = output_pixel.clamp(min=1) if self.antialias else torch.ones_like(output_pixel)
        return FilterField(latent.image.permute(0, 2, 3, 1), stretch=stretch)

    def taps(self, position: Tensor, n: int, stretch: Tensor) -> tuple[Tensor, Tensor]:
        """Indices and normalised weights (*S, T) for the positions (*S) along one axis of n pixels."""
        index, distance = axis_taps(position, n, self.support * stretch)
        weight = self.kernel((distance / stretch[..., None]).abs())
        return index, weight / weight.sum(-1, keepdim=True)

    def sample(self, field: FilterField, coord: Tensor) -> Tensor:
        height, width = field.size
        stretch = field.stretch.permute(0, 2, 3, 1)  # (B, h or 1, w or 1, 2)
        stretch = sample_nearest(stretch, coord)  # (B, Q, 2)
        rows, weight_y = self.taps(coord[..., 0], height, stretch[..., 0])
        columns, weight_x = self.taps(coord[..., 1], width, stretch[..., 1])
        index = (rows[..., :, None] * width + columns[..., None, :]).flatten(1)  # (B, Q * Ty * Tx)
        pixels = field.table.flatten(1, 2).gather(1, index[..., None].expand(-1, -1, 3))
        pixels = pixels.unflatten(1, (-1, rows.shape[-1], columns.shape[-1]))  # (B, Q, Ty, Tx, 3)
        return torch.einsum("bqyxc,bqy,bqx->bqc", pixels, weight_y, weight_x)

    def render(self, field: FilterField, grid: Grid) -> Tensor:
        if field.stretch.shape[-2:] != (1, 1):  # the kernel varies over the picture: not separable
            return super().render(field, grid)
        output = field.table.new_empty(field.batch, *grid.size, 3)
        for picture, stretch, resized in zip(field.table, field.stretch[:, :, 0, 0], output, strict=True):
            columns = self.taps(grid.columns, field.size[1], stretch[1])
            for rows, band in grid.bands(self.band_queries(field)):
                taps = self.taps(band.rows, field.size[0], stretch[0])
                resized[rows] = resample(resample(picture, *taps, axis=0), *columns, axis=1)
        return output.permute(0, 3, 1, 2)


def resample(picture: Tensor, index: Tensor, weight: Tensor, axis: int) -> Tensor:
    """Weighted sums of rows (axis 0) or columns (1) of an (h, w, 3) picture, by `index` and `weight` (N, T)."""
    weight = weight[:, None, None] if axis == 0 else weight[:, None]  # (..., 1, T)
    return sum(picture.index_select(axis, i) * weight[..., tap] for tap, i in enumerate(index.unbind(-1)))


@register("bilinear")
class Bilinear(Filter):
    """Triangle filter."""

    support = 1

    def kernel(self, distance: Tensor) -> Tensor:
        return (1 - distance).clamp(min=0)


@register("bicubic")
class Bicubic(Filter):
    """Cubic convolution (Keys, 1981); a = -0.75 as in PyTorch and OpenCV."""

    support = 2

    def __init__(self, a: float = -0.75, antialias: bool = True):
        super().__init__(antialias)
        self.a = a

    def kernel(self, distance: Tensor) -> Tensor:
        near = ((self.a + 2) * distance - (self.a + 3)) * distance**2 + 1
        far = self.a * (((distance - 5) * distance + 8) * distance - 4)
        return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))


@register("catmull-rom")
class CatmullRom(Bicubic):
    """Cubic convolution with a = -0.5, the "bicubic" of MATLAB, Pillow and the papers' tables."""

    def __init__(self, antialias: bool = True):
        super().__init__(-0.5, antialias)


@register("lanczos")
class Lanczos(Filter):
    """Windowed sinc with three lobes."""

    support = 3

    def kernel(self, distance: Tensor) -> Tensor:
        inside = torch.sinc(distance) * torch.sinc(distance / self.support)
        return torch.where(distance < self.support, inside, torch.zeros_like(inside))
