"""Wrappers that turn pictures into samples of a continuous function: an LR picture, positions, and the colours there.

Every item is a dict: `inp` (3, h, w) in [0, 1], `coord` (Q, 2) positions, `cell` (2,) output pixel size, `gt` (Q, 3)
in [0, 1].
"""

import random
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets.registry import register
from utils.coords import Grid, Size, cell_of, positions_of
from utils.errors import InputError
from utils.images import resize_bicubic, to_tensor


class ImplicitDataset(Dataset):
    """Base of the wrappers: a subclass says which LR and HR picture make an item (`pair`).

    `augment`: flips and transposes, each with probability 1/2. `sample_q`: so many random HR pixels without
    replacement, None for all of them in row-major order.
    """

    def __init__(self, dataset: Dataset, augment: bool = False, sample_q: int | None = None):
        self.dataset = dataset
        self.augment = augment
        self.sample_q = sample_q

    def __len__(self) -> int:
        return len(self.dataset)

    def path(self, index: int) -> Path:
        """HR file of item `index`."""
        return self.dataset.path(index)

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """LR (h, w, 3) and HR (H, W, 3) pictures, uint8, that cover the same part of the scene."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        lr, hr = self.pair(index)
        if self.augment:
            lr, hr = augmented(lr, hr)
        coord, gt = self._queries(hr, index)
        return {"inp": to_tensor(lr), "coord": coord, "cell": cell_of(hr.shape[:2]), "gt": gt}

    def _queries(self, hr: np.ndarray, index: int) -> tuple[Tensor, Tensor]:
        """Positions (Q, 2) and colours (Q, 3)."""
        size: Size = hr.shape[:2]
        colours = torch.from_numpy(np.ascontiguousarray(hr)).flatten(0, 1)  # (H * W, 3)
        if self.sample_q is None:
            return Grid.of_size(size).coord().flatten(0, 1), colours.float() / 255
        if self.sample_q > len(colours):
            raise InputError(f"sample_q {self.sample_q} is more than the {len(colours)} pixels of {self.path(index)}")
        chosen = torch.randperm(len(colours))[: self.sample_q]
        return positions_of(chosen, size), colours[chosen].float() / 255


def augmented(*pictures: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same random flips and transposition of every picture."""
    flips = [axis for axis in (0, 1) if random.random() < 0.5]
    transpose = random.random() < 0.5
    pictures = tuple(np.flip(picture, flips) for picture in pictures)
    return tuple(picture.swapaxes(0, 1) for picture in pictures) if transpose else pictures


def random_corner(size: Size, crop: Size, path: Path) -> Size:
    """Upper left corner of a random `crop` in a picture of `size`."""
    if crop[0] > size[0] or crop[1] > size[1]:
        raise InputError(
            f"{path} is {size[1]}x{size[0]}, smaller than the crop {crop[1]}x{crop[0]}; lower inp_size or scale_max"
        )
    return random.randint(0, size[0] - crop[0]), random.randint(0, size[1] - crop[1])


@register("sr-implicit-paired")
class Paired(ImplicitDataset):
    """LR pictures from files (`paired-image-folders`); the scale is the integer HR // LR.

    `inp_size`: a random LR crop of that side; None: the whole picture, HR cut at the right and bottom to scale * LR.
    """

    def __init__(
        self, dataset: Dataset, inp_size: int | None = None, augment: bool = False, sample_q: int | None = None
    ):
        super().__init__(dataset, augment, sample_q)
        self.inp_size = inp_size

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        lr, hr = self.dataset[index]
        scale = hr.shape[0] // lr.shape[0]
        if scale < 1 or hr.shape[1] // lr.shape[1] != scale:
            sizes = f"HR is {hr.shape[1]}x{hr.shape[0]}, LR {lr.shape[1]}x{lr.shape[0]}"
            raise InputError(f"{self.path(index)} does not fit its LR picture by one integer scale: {sizes}")
        y, x, height, width = 0, 0, *lr.shape[:2]
        if self.inp_size is not None:
            height = width = self.inp_size
            y, x = random_corner(lr.shape[:2], (height, width), self.path(index))
        hr = hr[y * scale : (y + height) * scale, x * scale : (x + width) * scale]
        return lr[y : y + height, x : x + width], hr


@register("sr-implicit-downsampled")
class Downsampled(ImplicitDataset):
    """LR pictures made on the fly with Pillow's bicubic, at a scale drawn uniformly from [scale_min, scale_max].

    `inp_size`: a random HR square of round(inp_size * scale) becomes an LR square of that side; None: the whole
    picture, cut at the right and bottom to round(floor(side / scale) * scale).
    """

    def __init__(
        self,
        dataset: Dataset,
        inp_size: int | None = None,
        scale_min: float = 1,
        scale_max: float | None = None,
        augment: bool = False,
        sample_q: int | None = None,
    ):
        super().__init__(dataset, augment, sample_q)
        self.inp_size = inp_size
        self.scale_min = scale_min
        self.scale_max = scale_min if scale_max is None else scale_max
        if not 0 < self.scale_min <= self.scale_max:
            raise InputError(
                f"scale_min {self.scale_min} and scale_max {self.scale_max}: expected 0 < scale_min <= scale_max"
            )

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        hr = self.dataset[index]
        scale = random.uniform(self.scale_min, self.scale_max)
        if self.inp_size is None:
            lr_size = tuple(max(1, int(side / scale + 1e-9)) for side in hr.shape[:2])
            height, width = (round(side * scale) for side in lr_size)
            y, x = 0, 0
        else:
            lr_size = (self.inp_size, self.inp_size)
            height = width = round(self.inp_size * scale)
            y, x = random_corner(hr.shape[:2], (height, width), self.path(index))
        hr = hr[y : y + height, x : x + width]
        return resize_bicubic(hr, lr_size), hr


@register("sr-implicit-paired-fast")
class PairedFast(Paired):
    """`sr-implicit-paired` with as many queries as the LR crop has pixels, as the published LTE+ configs name it."""

    def __init__(self, dataset: Dataset, inp_size: int | None = None, augment: bool = False):
        super().__init__(dataset, inp_size, augment, sample_q=inp_size and inp_size**2)


@register("sr-implicit-downsampled-fast")
class DownsampledFast(Downsampled):
    """`sr-implicit-downsampled` with as many queries as the LR crop has pixels, as the published LTE+ configs name
    it."""

    def __init__(
        self,
        dataset: Dataset,
        inp_size: int | None = None,
        scale_min: float = 1,
        scale_max: float | None = None,
        augment: bool = False,
    ):
        super().__init__(dataset, inp_size, scale_min, scale_max, augment, sample_q=inp_size and inp_size**2)


@register("sr-implicit-uniform-varied")
class UniformVaried(ImplicitDataset):
    """Paired pictures whose HR side goes evenly from `size_min` to `size_max` over the data set.

    `gt_resize`: the HR pictures are resized to this side in the end, after passing through their own.
    """

    def __init__(
        self,
        dataset: Dataset,
        size_min: int,
        size_max: int | None = None,
        augment: bool = False,
        gt_resize: int | None = None,
        sample_q: int | None = None,
    ):
        super().__init__(dataset, augment, sample_q)
        self.size_min = size_min
        self.size_max = size_min if size_max is None else size_max
        self.gt_resize = gt_resize

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        lr, hr = self.dataset[index]
        progress = index / max(1, len(self.dataset) - 1)
        side = round(self.size_min + (self.size_max - self.size_min) * progress)
        hr = resize_bicubic(hr, (side, side))
        return lr, hr if self.gt_resize is None else resize_bicubic(hr, (self.gt_resize, self.gt_resize))


@register("sr-implicit-fixed-resolution")
class FixedResolution(ImplicitDataset):
    """Every picture resized to `inp_res` and to `out_res`, each a side or (height, width): for timing."""

    def __init__(
        self,
        dataset: Dataset,
        inp_res: int | Size,
        out_res: int | Size,
        augment: bool = False,
        sample_q: int | None = None,
    ):
        super().__init__(dataset, augment, sample_q)
        self.inp_res, self.out_res = ((r, r) if isinstance(r, int) else tuple(r) for r in (inp_res, out_res))

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        hr = self.dataset[index]
        return resize_bicubic(hr, self.inp_res), resize_bicubic(hr, self.out_res)
