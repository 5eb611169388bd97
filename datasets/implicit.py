"""Wrappers that turn pictures into samples of a continuous function: an LR picture, positions, and the colours there.

Every item is a dict: `inp` (3, h, w) in [0, 1], `coord` (Q, 2) positions, `cell` (2,) output pixel size, `gt` (Q, 3)
in [0, 1]; 1 channel instead of 3 with `one_channel`.
"""

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets import name_of
from datasets.degradation import LUMA
from pictures.tensors import to_tensor
from utils.config import Count, Share, check, whole
from utils.errors import InputError
from utils.geometry.grids import Grid, Size, cell_of, positions_of


@dataclass(eq=False, kw_only=True)
class ImplicitDataset(Dataset):
    """Base of the wrappers: a subclass says which LR and HR picture make an item (`pair`).

    `augment`: flips and transposes, each with probability 1/2. `sample_q`: so many random HR pixels, none
    more than once unless there are fewer; None for all of them in row-major order. `one_channel`: a random colour
    channel of each item, on its own, as LeRF trains. `grey`: probability that an item is turned into greys.
    `sample_window`: the `sample_q` pixels are a random square in row-major order. InputError when `dataset` gives pairs
    and the wrapper takes single pictures (`takes_pairs`), or the other way round.
    """

    dataset: Dataset
    augment: bool = False
    sample_q: Count | None = None
    one_channel: bool = False
    grey: Share = 0
    sample_window: bool = False
    takes_pairs: ClassVar[bool] = False
    remedy: ClassVar[str] = "set inp_size"  # for LR pictures that differ in size

    def __post_init__(self) -> None:
        for name in ("paired", "path", "files", "__len__"):
            if not hasattr(self.dataset, name):
                own = name_of(self.dataset)
                raise InputError(f"data set '{own}' lacks {name}; docs/training.md says what one needs")
        if self.dataset.paired is not self.takes_pairs:
            needed = ("LR and HR pictures in pairs", "paired-image-folders")
            needed = needed if self.takes_pairs else ("single pictures", "image-folder")
            raise InputError(f"{name_of(self)} takes {needed[0]}, not '{name_of(self.dataset)}'; use '{needed[1]}'")
        if self.sample_window and (self.sample_q is None or math.isqrt(self.sample_q) ** 2 != self.sample_q):
            raise InputError(f"{name_of(self)}: sample_window needs a square number as sample_q, such as 1024")

    def __len__(self) -> int:
        return len(self.dataset)

    def path(self, index: int) -> Path:
        """HR file of item `index`."""
        return self.dataset.path(index)

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """LR (h, w, 3) and HR (H, W, 3) pictures, uint8, that cover the same part of the scene."""
        raise NotImplementedError

    def possible_sizes(self) -> set[tuple[Size, Size]]:
        """LR (h, w) and HR (H, W) sizes that `pair` can give: of a range of scales or sizes both ends are enough."""
        raise NotImplementedError

    @property
    def window(self) -> Size | None:
        """(h, w) whose pixels in row-major order the queries of every item are; None where they are random points, or
        items differ."""
        if self.sample_window:
            return math.isqrt(self.sample_q), math.isqrt(self.sample_q)
        sizes = {size for _, size in self.possible_sizes()} if self.sample_q is None else set()
        if self.augment:
            sizes |= {(width, height) for height, width in sizes}
        return sizes.pop() if len(sizes) == 1 else None

    def needs(self) -> list[tuple[list[Path], Size]]:
        """The picture files, with the (height, width) that they need at least."""
        return [(self.dataset.files(), (1, 1))]

    def check_batches(self, batch_size: int) -> None:
        """InputError when items of different shapes would meet in a batch, with the key to set; batches of 1 always
        pass."""
        check("batch_size", batch_size, whole(1))
        if batch_size == 1:
            return
        sizes = self.possible_sizes()
        inputs = {lr for lr, _ in sizes}
        if self.augment:
            inputs |= {(width, height) for height, width in inputs}
        if len(inputs) > 1:
            one, other, *_ = (f"{width}x{height}" for height, width in sorted(inputs))
            raise InputError(
                f"{name_of(self)}: batch_size {batch_size} needs LR pictures of one size, but some are {one}, some "
                f"{other}; {self.remedy}, or set batch_size: 1"
            )
        if self.sample_q is None and len({height * width for _, (height, width) in sizes}) > 1:
            raise InputError(
                f"{name_of(self)}: batch_size {batch_size} needs as many queries of each picture, but HR pictures "
                "differ in size; set sample_q, or set batch_size: 1"
            )

    def check_queries(self) -> None:
        """InputError when the window of `sample_q` pixels is larger than the smallest HR picture or crop."""
        side = math.isqrt(self.sample_q or 1)
        for height, width in sorted(hr for _, hr in self.possible_sizes()) if self.sample_window else ():
            if side > min(height, width):
                raise InputError(
                    f"{name_of(self)}: sample_q {self.sample_q}, a window of {side}x{side}, is more than an HR picture "
                    f"or crop of {width}x{height} has; lower sample_q, or raise inp_size or the smallest scale"
                )

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        lr, hr = self.pair(index)
        if self.augment:
            lr, hr = augmented(lr, hr)
        if self.grey and random.random() < self.grey:
            lr, hr = in_greys(lr), in_greys(hr)
        coord, gt = self._queries(hr)
        channel = random.randrange(3) if self.one_channel else 0
        channels = slice(channel, channel + 1) if self.one_channel else slice(None)
        return {"inp": to_tensor(lr)[channels], "coord": coord, "cell": cell_of(hr.shape[:2]), "gt": gt[:, channels]}

    def _queries(self, hr: np.ndarray) -> tuple[Tensor, Tensor]:
        """Positions (Q, 2) and colours (Q, 3)."""
        size: Size = hr.shape[:2]
        colours = torch.from_numpy(np.require(hr, requirements="CW")).flatten(0, 1)  # (H * W, 3)
        if self.sample_q is None:
            return Grid.of_size(size).coord().flatten(0, 1), colours.float() / 255
        chosen = self._window_in(size) if self.sample_window else self._points_in(len(colours))
        return positions_of(chosen, size), colours[chosen].float() / 255

    def _points_in(self, pixels: int) -> Tensor:
        """`sample_q` of so many pixels, each as often as any other, give or take one."""
        rounds = [torch.randperm(pixels) for _ in range(math.ceil(self.sample_q / pixels))]
        return torch.cat(rounds)[: self.sample_q]

    def _window_in(self, size: Size) -> Tensor:
        """Pixels (Q,), in row-major order, of a random square of `sample_q` pixels in a picture of `size`."""
        side = math.isqrt(self.sample_q)
        top, left = (random.randint(0, length - side) for length in size)
        rows, columns = torch.arange(top, top + side), torch.arange(left, left + side)
        return (rows[:, None] * size[1] + columns).flatten()


def augmented(*pictures: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same random flips and transposition of every picture."""
    flips = [axis for axis in (0, 1) if random.random() < 0.5]
    transpose = random.random() < 0.5
    pictures = tuple(np.flip(picture, flips) for picture in pictures)
    return tuple(picture.swapaxes(0, 1) for picture in pictures) if transpose else pictures


def in_greys(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8, all channels the picture's luma."""
    luma = (picture @ LUMA).round().astype(np.uint8)
    return luma[..., None].repeat(3, axis=-1)


def random_corner(size: Size, crop: Size, path: Path) -> Size:
    """Upper left corner of a random `crop` in a picture of `size`."""
    if crop[0] > size[0] or crop[1] > size[1]:
        raise InputError(
            f"{path} is {size[1]}x{size[0]}, smaller than the crop {crop[1]}x{crop[0]}; lower inp_size or scale_max"
        )
    return random.randint(0, size[0] - crop[0]), random.randint(0, size[1] - crop[1])
