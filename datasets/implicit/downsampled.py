"""LR pictures made on the fly from HR pictures."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from datasets.degradation import Degradation
from datasets.implicit.base import ImplicitDataset, one_query_a_pixel, random_corner
from datasets.registry import register
from pictures.tensors import resize_bicubic
from utils.config import Count, Positive, ScaleLike, Share
from utils.errors import InputError
from utils.geometry.grids import Size
from utils.geometry.sizes import Scale, parse_scale


@register("sr-implicit-downsampled")
class Downsampled(ImplicitDataset):
    """LR pictures made on the fly with Pillow's bicubic, at a scale drawn uniformly from [scale_min, scale_max].

    `scale_min` may be [height, width], one pair of scales for whole pictures, without a `scale_max`.
    `inp_size`: a random HR square of round(inp_size * scale) becomes an LR square of that side; None: the whole
    picture, cut at the right and bottom to round(floor(side / scale) * scale). `degradation`: settings of a
    `Degradation` that makes the LR pictures instead.
    """

    def __init__(
        self,
        dataset: Dataset,
        inp_size: Count | None = None,
        scale_min: ScaleLike = 1,
        scale_max: Positive | None = None,
        augment: bool = False,
        sample_q: Count | None = None,
        one_channel: bool = False,
        grey: Share = 0,
        degradation: Mapping | None = None,
        sample_window: bool = False,
    ):
        super().__init__(dataset, augment, sample_q, one_channel, grey, sample_window)
        if isinstance(scale_min, Sequence) and (inp_size or scale_max):
            raise InputError(f"scale_min {list(scale_min)} is for whole pictures; remove inp_size and scale_max")
        self.inp_size = inp_size
        self.make_lr = resize_bicubic if degradation is None else Degradation(degradation)
        self.smallest = parse_scale(scale_min)
        self.largest = self.smallest if scale_max is None else parse_scale(scale_max)
        if self.smallest > self.largest:
            raise InputError(f"scale_min {scale_min} is larger than scale_max {scale_max}")

    @property
    def scales(self) -> tuple[float, float]:
        """Smallest and largest scale of the items."""
        return min(self.smallest), max(self.largest)

    def needs(self) -> list[tuple[list[Path], Size]]:
        crop = (1, 1) if self.inp_size is None else crop_sizes(self.inp_size, max(self.largest))[1]
        return [(self.dataset.files(), crop)]

    def possible_sizes(self) -> set[tuple[Size, Size]]:
        scales = (self.smallest, self.largest)
        if self.inp_size is not None:
            return {crop_sizes(self.inp_size, scale[0]) for scale in scales}
        return {whole_sizes(size, scale) for size in self.dataset.sizes() for scale in scales}

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        hr = self.dataset[index]
        between = random.random()
        scale = tuple(low + (high - low) * between for low, high in zip(self.smallest, self.largest, strict=True))
        if self.inp_size is None:
            lr_size, (height, width) = whole_sizes(hr.shape[:2], scale)
            y, x = 0, 0
        else:
            lr_size, (height, width) = crop_sizes(self.inp_size, scale[0])
            y, x = random_corner(hr.shape[:2], (height, width), self.path(index))
        hr = hr[y : y + height, x : x + width]
        return self.make_lr(hr, lr_size), hr


def whole_sizes(size: Size, scale: Scale) -> tuple[Size, Size]:
    """LR and HR size of a whole picture of `size`: floor(size / scale), and that times `scale`."""
    height, width = (max(1, int(side / factor + 1e-9)) for side, factor in zip(size, scale, strict=True))
    return (height, width), (round(height * scale[0]), round(width * scale[1]))


def crop_sizes(side: int, scale: float) -> tuple[Size, Size]:
    """LR and HR size of a crop with `side` LR pixels."""
    return (side, side), (round(side * scale), round(side * scale))


@register("sr-implicit-downsampled-fast")
class DownsampledFast(Downsampled):
    """`sr-implicit-downsampled` with as many queries as the LR crop has pixels, as the published LTE+ configs name
    it."""

    def __init__(
        self,
        dataset: Dataset,
        inp_size: Count | None = None,
        scale_min: Positive = 1,
        scale_max: Positive | None = None,
        augment: bool = False,
    ):
        super().__init__(dataset, inp_size, scale_min, scale_max, augment, sample_q=one_query_a_pixel(inp_size))
