"""Fixed interpolation filters as models of the common interface: the baselines of every table."""

import torch
from torch import Tensor, nn

from models.continuous import ContinuousModel, Field, Latent, Tiling
from models.registry import register
from models.resampling.kernels import Cubic, Triangle, WindowedSinc
from models.resampling.resampler import Resampler
from utils.geometry.grids import Grid, OutputGrid, pixel_index, sample_nearest


@register("nearest")
class Nearest(ContinuousModel):
    """The LR pixel that holds the position."""

    trained_scales = None
    reduces = True
    averages = True
    tiling = Tiling.INTERNAL
    whole_types = (torch.float16, torch.bfloat16)
    pixel_bytes = 150

    def encode(self, image: Tensor) -> Latent:
        return Latent(image, image)

    def field(self, latent: Latent, cell: Tensor) -> Field:
        return Field(latent.image.permute(0, 2, 3, 1), window=latent.pixels)

    @property
    def context(self) -> int:
        return 0

    def sample(self, field: Field, coord: Tensor) -> Tensor:
        return sample_nearest(field.table, coord)

    def paint(self, field: Field, grid: OutputGrid, output: Tensor) -> None:
        if not isinstance(grid, Grid):
            super().paint(field, grid, output)
            return
        axes = zip((grid.rows, grid.columns), field.size, strict=True)
        rows, columns = (pixel_index(positions, n).to(output.device) for positions, n in axes)
        rows, columns = rows - field.pixels.top, columns - field.pixels.left
        output.copy_(field.table.permute(0, 3, 1, 2).index_select(2, rows).index_select(3, columns))

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        return []


class Filter(Resampler):
    """The picture itself, resampled with a kernel without hyper-parameters: no parameters to learn."""

    reduces = True
    whole_types = (torch.float16, torch.bfloat16)
    pixel_bytes = 150

    @property
    def context(self) -> int:
        return 0

    def encode(self, image: Tensor) -> Latent:
        return Latent(image, image)


@register("bilinear")
class Bilinear(Filter):
    """Triangle filter."""

    def __init__(self, antialias: bool = True):
        super().__init__(Triangle(), antialias)


@register("bicubic")
class Bicubic(Filter):
    """Cubic convolution (Keys, 1981); a = -0.75 as in PyTorch and OpenCV."""

    def __init__(self, a: float = -0.75, antialias: bool = True):
        super().__init__(Cubic(a), antialias)


@register("catmull-rom")
class CatmullRom(Filter):
    """Cubic convolution with a = -0.5, the "bicubic" of MATLAB, Pillow and the papers' tables."""

    def __init__(self, antialias: bool = True):
        super().__init__(Cubic(-0.5), antialias)


@register("lanczos")
class Lanczos(Filter):
    """Windowed sinc with three lobes."""

    def __init__(self, antialias: bool = True):
        super().__init__(WindowedSinc(), antialias)
