"""Pictures resized to given sides, for comparisons over sizes and for timing."""

import numpy as np
from torch.utils.data import Dataset

from datasets.implicit.base import ImplicitDataset
from datasets.registry import register
from pictures.tensors import resize_bicubic
from utils.config import Count, SizeLike
from utils.geometry.grids import Size


@register("sr-implicit-uniform-varied")
class UniformVaried(ImplicitDataset):
    """Paired pictures whose HR side goes evenly from `size_min` to `size_max` over the data set.

    `gt_resize`: the HR pictures are resized to this side in the end, after passing through their own.
    """

    takes_pairs = True
    remedy = "use LR pictures of one size, square when augment is true"

    def __init__(
        self,
        dataset: Dataset,
        size_min: Count,
        size_max: Count | None = None,
        augment: bool = False,
        gt_resize: Count | None = None,
        sample_q: Count | None = None,
    ):
        super().__init__(dataset, augment, sample_q)
        self.size_min = size_min
        self.size_max = size_min if size_max is None else size_max
        self.gt_resize = gt_resize

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
class FixedResolution(ImplicitDataset):
    """Every picture resized to `inp_res` and to `out_res`, each a side or (height, width): for timing."""

    remedy = "make inp_res square or set augment: false"

    def __init__(
        self,
        dataset: Dataset,
        inp_res: SizeLike,
        out_res: SizeLike,
        augment: bool = False,
        sample_q: Count | None = None,
    ):
        super().__init__(dataset, augment, sample_q)
        self.inp_res, self.out_res = ((r, r) if isinstance(r, int) else tuple(r) for r in (inp_res, out_res))

    def possible_sizes(self) -> set[tuple[Size, Size]]:
        return {(self.inp_res, self.out_res)}

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        hr = self.dataset[index]
        return resize_bicubic(hr, self.inp_res), resize_bicubic(hr, self.out_res)
