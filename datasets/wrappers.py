"""Wrappers under their registry names: which LR and HR picture make an item."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from datasets import register
from datasets.degradation import Degradation
from datasets.implicit import ImplicitDataset, random_corner
from pictures.tensors import resize_bicubic
from utils.config import Count, Positive, ScaleLike, SizeLike
from utils.errors import InputError
from utils.geometry.grids import Size
from utils.geometry.sizes import Scale, parse_scale, scale_text


@register("sr-implicit-downsampled")
@dataclass(eq=False, kw_only=True)
class Downsampled(ImplicitDataset):
    """LR pictures made on the fly with Pillow's bicubic, at a scale drawn uniformly from [scale_min, scale_max].

    `scale_min` may be [height, width], one pair of scales for whole pictures, without a `scale_max`.
    `inp_size`: a random HR square of round(inp_size * scale) becomes an LR square of that side; None: the whole
    picture, cut at the right and bottom to round(floor(side / scale) * scale). `degradation`: settings of a
    `Degradation` that makes the LR pictures instead.
    """

    inp_size: Count | None = None
    scale_min: ScaleLike = 1
    scale_max: Positive | None = None
    degradation: Mapping | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.scale_min, Sequence) and (self.inp_size or self.scale_max):
            raise InputError(f"scale_min {list(self.scale_min)} is for whole pictures; remove inp_size and scale_max")
        self.make_lr = resize_bicubic if self.degradation is None else Degradation(self.degradation)
        self.smallest = parse_scale(self.scale_min)
        self.largest = self.smallest if self.scale_max is None else parse_scale(self.scale_max)
        if self.smallest > self.largest:
            raise InputError(f"scale_min {self.scale_min} is larger than scale_max {self.scale_max}")

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
def downsampled_fast(
    dataset: Dataset,
    inp_size: Count | None = None,
    scale_min: Positive = 1,
    scale_max: Positive | None = None,
    augment: bool = False,
) -> Downsampled:
    """`sr-implicit-downsampled` with as many queries as the LR crop has pixels, as in the published LTE+ configs."""
    sizes = {"inp_size": inp_size, "scale_min": scale_min, "scale_max": scale_max}
    return Downsampled(dataset=dataset, augment=augment, sample_q=inp_size and inp_size**2, **sizes)


@register("sr-implicit-paired")
@dataclass(eq=False, kw_only=True)
class Paired(ImplicitDataset):
    """LR pictures from files (`paired-image-folders`) at a `scale` (a number or [height, width]); None: HR // LR.

    `inp_size`: a random LR crop of that side; None: the whole picture, HR cut at the right and bottom to scale * LR,
    rounded up. InputError names the files of a pair that the scale, or no integer scale, fits.
    """

    takes_pairs = True
    inp_size: Count | None = None
    scale: ScaleLike | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.factors = None if self.scale is None else parse_scale(self.scale)
        if self.inp_size and self.factors and any(factor % 1 for factor in self.factors):
            raise InputError("sr-implicit-paired: crops need a whole scale; remove inp_size or the scale")
        for index, (lr, hr) in enumerate(self.dataset.pair_sizes):
            self._scale(lr, hr, index)

    def _scale(self, lr: Size, hr: Size, index: int) -> Scale:
        scale = self.factors
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
    """(H, W) of the part of an HR picture that an LR picture covers, both from their upper left corner."""
    height, width = (min(n, math.ceil(m * f - 1e-6)) for n, m, f in zip(hr, lr, scale, strict=True))
    return height, width


@register("sr-implicit-paired-fast")
def paired_fast(dataset: Dataset, inp_size: Count | None = None, augment: bool = False) -> Paired:
    """`sr-implicit-paired` with as many queries as the LR crop has pixels, as in the published LTE+ configs."""
    return Paired(dataset=dataset, augment=augment, sample_q=inp_size and inp_size**2, inp_size=inp_size)


@register("sr-implicit-uniform-varied")
@dataclass(eq=False, kw_only=True)
class UniformVaried(ImplicitDataset):
    """Paired pictures whose HR side goes evenly from `size_min` to `size_max` over the data set.

    `gt_resize`: the HR pictures are resized to this side in the end, after passing through their own.
    """

    takes_pairs = True
    remedy = "use LR pictures of one size, square when augment is true"
    size_min: Count
    size_max: Count | None = None
    gt_resize: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.size_max = self.size_min if self.size_max is None else self.size_max

    def possible_sizes(self) -> set[tuple[Size, Size]]:
        sides = (self.size_min, self.size_max) if self.gt_resize is None else (self.gt_resize,)
        return {(lr, (side, side)) for lr, _ in self.dataset.pair_sizes for side in sides}

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        lr, hr = self.dataset[index]
        progress = index / max(1, len(self.dataset) - 1)
        side = round(self.size_min + (self.size_max - self.size_min) * progress)
        hr = resize_bicubic(hr, (side, side))
        return lr, hr if self.gt_resize is None else resize_bicubic(hr, (self.gt_resize, self.gt_resize))


@register("sr-implicit-fixed-resolution")
@dataclass(eq=False, kw_only=True)
class FixedResolution(ImplicitDataset):
    """Every picture resized to `inp_res` and to `out_res`, each a side or (height, width): for timing."""

    remedy = "make inp_res square or set augment: false"
    inp_res: SizeLike
    out_res: SizeLike

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sizes = tuple((r, r) if isinstance(r, int) else tuple(r) for r in (self.inp_res, self.out_res))

    def possible_sizes(self) -> set[tuple[Size, Size]]:
        return {self.sizes}

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        hr = self.dataset[index]
        return resize_bicubic(hr, self.sizes[0]), resize_bicubic(hr, self.sizes[1])
