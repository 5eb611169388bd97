"""Wrappers that turn pictures into samples of a continuous function: an LR picture, positions, and the colours there.

Every item is a dict: `inp` (3, h, w) in [0, 1], `coord` (Q, 2) positions, `cell` (2,) output pixel size, `gt` (Q, 3)
in [0, 1]; 1 channel instead of 3 with `one_channel`.
"""

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets.degradation import LUMA, Degradation
from datasets.registry import name_of, register
from utils.errors import InputError
from utils.geometry.grids import Grid, Size, cell_of, positions_of
from utils.geometry.scales import Scale, parse_scale, scale_text
from utils.kinds import Count, Positive, ScaleLike, Share, SizeLike, check, whole
from utils.pictures.tensors import resize_bicubic, to_tensor


class ImplicitDataset(Dataset):
    """Base of the wrappers: a subclass says which LR and HR picture make an item (`pair`).

    `augment`: flips and transposes, each with probability 1/2. `sample_q`: so many random HR pixels without
    replacement, None for all of them in row-major order. `one_channel`: a random colour channel of each item, on its
    own, as LeRF trains. `grey`: probability that an item is turned into greys. `sample_window`: the `sample_q` pixels
    are a random square in row-major order. InputError when `dataset` gives pairs and the wrapper takes single pictures
    (`takes_pairs`), or the other way round.
    """

    takes_pairs = False
    remedy = "set inp_size"  # for LR pictures that differ in size

    def __init__(
        self,
        dataset: Dataset,
        augment: bool = False,
        sample_q: Count | None = None,
        one_channel: bool = False,
        grey: Share = 0,
        sample_window: bool = False,
    ):
        if getattr(dataset, "paired", None) is not self.takes_pairs:
            needed = ("LR and HR pictures in pairs", "paired-image-folders")
            needed = needed if self.takes_pairs else ("single pictures", "image-folder")
            raise InputError(f"{name_of(self)} takes {needed[0]}, not '{name_of(dataset)}'; use '{needed[1]}'")
        self.dataset = dataset
        self.augment = augment
        self.sample_q = sample_q
        self.one_channel = one_channel
        self.grey = grey
        self.sample_window = sample_window
        if sample_window and (sample_q is None or math.isqrt(sample_q) ** 2 != sample_q):
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

    def varied_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`pair` as an item shows it: flipped, transposed and turned into greys at random."""
        lr, hr = self.pair(index)
        if self.augment:
            lr, hr = augmented(lr, hr)
        if self.grey and random.random() < self.grey:
            lr, hr = in_greys(lr), in_greys(hr)
        return lr, hr

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        lr, hr = self.varied_pair(index)
        coord, gt = self._queries(hr, index)
        channel = random.randrange(3) if self.one_channel else 0
        channels = slice(channel, channel + 1) if self.one_channel else slice(None)
        return {"inp": to_tensor(lr)[channels], "coord": coord, "cell": cell_of(hr.shape[:2]), "gt": gt[:, channels]}

    def _queries(self, hr: np.ndarray, index: int) -> tuple[Tensor, Tensor]:
        """Positions (Q, 2) and colours (Q, 3)."""
        size: Size = hr.shape[:2]
        colours = torch.from_numpy(np.require(hr, requirements="CW")).flatten(0, 1)  # (H * W, 3)
        if self.sample_q is None:
            return Grid.of_size(size).coord().flatten(0, 1), colours.float() / 255
        if self.sample_q > len(colours):
            raise InputError(f"sample_q {self.sample_q} is more than the {len(colours)} pixels of {self.path(index)}")
        chosen = self._window_in(size, index) if self.sample_window else torch.randperm(len(colours))[: self.sample_q]
        return positions_of(chosen, size), colours[chosen].float() / 255

    def _window_in(self, size: Size, index: int) -> Tensor:
        """Pixels (Q,), in row-major order, of a random square of `sample_q` pixels in a picture of `size`."""
        side = math.isqrt(self.sample_q)
        if side > min(size):
            raise InputError(
                f"{self.path(index)}: sample_q {self.sample_q} is a window of {side}x{side}, more than the HR picture, "
                f"{size[1]}x{size[0]}; lower sample_q"
            )
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


def one_query_a_pixel(inp_size: int | None) -> int | None:
    """`sample_q` of the fast variants: as many as the LR crop has pixels; None for whole pictures."""
    return None if inp_size is None else inp_size**2


@register("sr-implicit-paired-fast")
class PairedFast(Paired):
    """`sr-implicit-paired` with as many queries as the LR crop has pixels, as the published LTE+ configs name it."""

    def __init__(self, dataset: Dataset, inp_size: Count | None = None, augment: bool = False):
        super().__init__(dataset, inp_size, augment, sample_q=one_query_a_pixel(inp_size))


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
