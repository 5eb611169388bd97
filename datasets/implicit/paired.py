"""LR and HR pictures from files."""

import math
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from datasets.implicit.base import ImplicitDataset, one_query_a_pixel, random_corner
from datasets.registry import register
from utils.config import Count, ScaleLike, Share
from utils.errors import InputError
from utils.geometry.grids import Size
from utils.geometry.sizes import Scale, parse_scale, scale_text


@register("sr-implicit-paired")
class Paired(ImplicitDataset):
    """LR pictures from files (`paired-image-folders`) at a `scale` (a number or [height, width]); None: HR // LR.

    `inp_size`: a random LR crop of that side; None: the whole picture, HR cut at the right and bottom to scale * LR,
    rounded up. InputError names the files of a pair that the scale, or no integer scale, fits.
    """

    takes_pairs = True

    def __init__(
        self,
        dataset: Dataset,
        inp_size: Count | None = None,
        augment: bool = False,
        sample_q: Count | None = None,
        one_channel: bool = False,
        scale: ScaleLike | None = None,
        grey: Share = 0,
        sample_window: bool = False,
    ):
        super().__init__(dataset, augment, sample_q, one_channel, grey, sample_window)
        self.inp_size = inp_size
        self.scale = None if scale is None else parse_scale(scale)
        if inp_size and self.scale and any(factor % 1 for factor in self.scale):
            raise InputError("sr-implicit-paired: crops need a whole scale; remove inp_size or the scale")
        for index, (lr, hr) in enumerate(dataset.pair_sizes):
            self._scale(lr, hr, index)

    def _scale(self, lr: Size, hr: Size, index: int) -> Scale:
        scale = self.scale
        if scale is None:
            scale = (hr[0] // lr[0], hr[0] // lr[0])
            fits = hr[1] // lr[1] == scale[1] >= 1
        else:
            deviations = (abs(n_hr / n_lr / factor - 1) for n_hr, n_lr, factor in zip(hr, lr, scale, strict=True))
            fits = max(deviations) < 0.1 + 1 / min(lr)
        if not fits:
            raise InputError(
                f"{self.path(index)}, {hr[1]}x{hr[0]}, does not fit its LR picture {self.dataset.lr_path(index)}, "
                f"{lr[1]}x{lr[0]}, by {'one integer scale' if self.scale is None else f'the scale {scale_text(scale)}'}"
            )
        return scale

    def needs(self) -> list[tuple[list[Path], Size]]:
        side = self.inp_size or 1
        return [(self.dataset.lr.files(), (side, side)), (self.dataset.hr.files(), (side, side))]

    def possible_sizes(self) -> set[tuple[Size, Size]]:
        sizes = set()
        for index, (lr, hr) in enumerate(self.dataset.pair_sizes):
            scale = self._scale(lr, hr, index)
            crop = lr if self.inp_size is None else (self.inp_size, self.inp_size)
            sizes.add((crop, covered_size(crop, scale, hr)))
        return sizes

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        lr, hr = self.dataset[index]
        scale = self._scale(lr.shape[:2], hr.shape[:2], index)
        if self.inp_size is not None:
            side, (y_scale, x_scale) = self.inp_size, map(int, scale)
            y, x = random_corner(lr.shape[:2], (side, side), self.path(index))
            lr, hr = lr[y : y + side, x : x + side], hr[y * y_scale :, x * x_scale :]
        height, width = covered_size(lr.shape[:2], scale, hr.shape[:2])
        return lr, hr[:height, :width]


def covered_size(lr: Size, scale: Scale, hr: Size) -> Size:
    """What an LR picture enlarged by `scale` covers of an HR picture, both from their upper left corner."""
    height, width = (min(n, math.ceil(m * f - 1e-6)) for n, m, f in zip(hr, lr, scale, strict=True))
    return height, width


@register("sr-implicit-paired-fast")
class PairedFast(Paired):
    """`sr-implicit-paired` with as many queries as the LR crop has pixels, as the published LTE+ configs name it."""

    def __init__(self, dataset: Dataset, inp_size: Count | None = None, augment: bool = False):
        super().__init__(dataset, inp_size, augment, sample_q=one_query_a_pixel(inp_size))
