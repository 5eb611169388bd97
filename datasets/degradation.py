"""LR pictures as cameras and the web make them: blurred, noisy, compressed, resized by unknown kernels, twice over.

The second-order degradation model of Wang et al., "Real-ESRGAN" (2021), with the random order of steps of Zhang et al.,
"Designing a Practical Degradation Model" (2021), for LR pictures of any scale: lengths are in LR pixels, whatever the
size of the picture that a step meets. Pictures are (H, W, 3) uint8 from step to step.
"""

import io
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
from PIL import Image

from datasets.blur_kernels import KERNELS, blurred, gaussian, sinc
from pictures.tensors import resize_bicubic
from utils.config import Check, Share, between, check, check_keys, whole
from utils.errors import InputError
from utils.geometry.grids import Size
from utils.registry import Registry

LUMA = (0.299, 0.587, 0.114)  # of RGB, BT.601
REDUCING = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
ENLARGING = REDUCING[1:]  # a box would repeat pixels


def _range(of: Check) -> Check:
    """[smallest, largest], each as `of` says."""
    words = f"[smallest, largest], each {of.words}"
    return Check(words, lambda v: isinstance(v, Sequence) and len(v) == 2 and all(map(of.fits, v)) and v[0] <= v[1])


Sigmas = Annotated[Sequence[float], _range(between(0, 255))]
Blurs = Annotated[Sequence[float], _range(between(0.01, 100))]
Sides = Annotated[Sequence[float], _range(between(0.05, 8))]
Qualities = Annotated[Sequence[int], _range(whole(1, 100))]
Cutoffs = Annotated[Sequence[float], _range(between(0.1, 1))]

OFTEN = {"isotropic": 0.4, "anisotropic": 0.3, "generalised": 0.1, "plateau": 0.1, "sinc": 0.1}  # each blur kernel

registry = Registry("degradation step")


class Step(Protocol):
    """A step of a degradation, which happens with its `probability`."""

    probability: float

    def __call__(self, picture: np.ndarray, lr_size: Size, source: np.random.Generator) -> np.ndarray:
        """The picture after the step; `lr_size` is the size of the LR picture in the end."""


@registry.register("blur")
@dataclass
class Blur:
    """A kernel of unit sum: Gaussians, their generalised and plateau-shaped kin, or a sinc.

    `sigma`: range of the standard deviations, in LR pixels. `kernels`: `{name: weight}`, how often each; None for
    the usual ones. `cutoff`: range of the frequency from which on a sinc leaves nothing, 1 at the Nyquist frequency of
    LR pixels.
    """

    probability: Share = 1
    sigma: Blurs = (0.1, 0.8)
    kernels: Mapping | None = None
    cutoff: Cutoffs = (0.4, 1)

    def __post_init__(self) -> None:
        self.kernels = OFTEN if self.kernels is None else self.kernels
        check_keys(self.kernels, KERNELS, "kernels")
        for name, weight in self.kernels.items():
            check(f"degradation step 'blur': kernels.{name}", weight, between(0, 1e6))
        if not any(self.kernels.values()):
            raise InputError("degradation step 'blur': all weights of kernels are 0; raise one")

    def __call__(self, picture: np.ndarray, lr_size: Size, source: np.random.Generator) -> np.ndarray:
        pixel = picture.shape[0] / lr_size[0]  # side of an LR pixel
        names, weights = list(self.kernels), np.array(list(self.kernels.values()), float)
        name = names[source.choice(len(names), p=weights / weights.sum())]
        if name == "sinc":
            return blurred(picture, sinc(source.uniform(*self.cutoff) / pixel))
        sigmas = source.uniform(*self.sigma) * pixel, source.uniform(*self.sigma) * pixel
        return blurred(picture, gaussian(name, sigmas, source))


@registry.register("ringing")
@dataclass
class Ringing:
    """A sinc at the LR picture's own size: the overshoot of sharpened pictures. `cutoff` as in `Blur`."""

    probability: Share = 1
    cutoff: Cutoffs = (0.5, 1)

    def __call__(self, picture: np.ndarray, lr_size: Size, source: np.random.Generator) -> np.ndarray:
        return blurred(picture, sinc(source.uniform(*self.cutoff)))


@registry.register("resize")
@dataclass
class Resize:
    """Another size by a random kernel.

    `sides`: smallest side as a multiple of the LR picture's, largest as one of the picture's; between them every ratio
    is as likely.
    """

    probability: Share = 1
    sides: Sides = (0.7, 1.2)

    def __call__(self, picture: np.ndarray, lr_size: Size, source: np.random.Generator) -> np.ndarray:
        smallest = self.sides[0] * lr_size[0] / picture.shape[0]
        factor = float(np.exp(source.uniform(*sorted(np.log([smallest, self.sides[1]])))))
        height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
        return resized(picture, (height, width), source)


def resized(picture: np.ndarray, size: Size, source: np.random.Generator) -> np.ndarray:
    """The picture at another size, by one of Pillow's antialiased kernels."""
    kernels = REDUCING if size[0] < picture.shape[0] else ENLARGING
    kernel = kernels[source.integers(len(kernels))]
    return np.array(Image.fromarray(picture).resize((size[1], size[0]), kernel))


@registry.register("noise")
@dataclass
class Noise:
    """Gaussian noise, or the Poisson noise of photons.

    `sigma`: range of the standard deviation, in levels of 255; of Poisson noise at white. `poisson`: share of that
    kind. `grey`: share of noise that is the same in all channels.
    """

    probability: Share = 1
    sigma: Sigmas = (1, 10)
    poisson: Share = 0.5
    grey: Share = 0.4

    def __call__(self, picture: np.ndarray, lr_size: Size, source: np.random.Generator) -> np.ndarray:
        sigma = source.uniform(*self.sigma)
        make = add_poisson if source.random() < self.poisson else add_gaussian
        return make(picture, sigma, source.random() < self.grey, source)


def add_gaussian(picture: np.ndarray, sigma: float, grey: bool, source: np.random.Generator) -> np.ndarray:
    """With Gaussian noise of a standard deviation in levels, the same in all channels when `grey`."""
    shape = (*picture.shape[:2], 1 if grey else 3)
    return levels(picture + np.float32(sigma) * source.standard_normal(shape, dtype=np.float32))


def add_poisson(picture: np.ndarray, sigma: float, grey: bool, source: np.random.Generator) -> np.ndarray:
    """With the noise of so many photons that white has a standard deviation of `sigma` levels; of the luma, in all
    channels, when `grey`."""
    if sigma == 0:
        return picture
    signal = (picture @ LUMA)[..., None] if grey else picture
    photons = 255 / sigma**2  # a level
    return levels(picture + (source.poisson(signal * photons) / photons - signal))


def levels(values: np.ndarray) -> np.ndarray:
    """Numbers as uint8, clipped and rounded."""
    return values.clip(0, 255).round().astype(np.uint8)


BLOCK = 16  # pixels: the largest unit of JPEG and WebP
WEBP_LIMIT = 16383  # pixels a side


def encoded(picture: np.ndarray, quality: int, webp: bool = False, subsampled: bool = True) -> bytes:
    """(H, W, 3) uint8 as a JPEG or, where its size allows, a WebP file; `subsampled`: JPEG with colours at half the
    resolution."""
    file = io.BytesIO()
    image = Image.fromarray(picture)
    if webp and max(picture.shape) <= WEBP_LIMIT:
        image.save(file, "WEBP", quality=quality, method=0)  # the fastest
    else:
        image.save(file, "JPEG", quality=quality, subsampling="4:2:0" if subsampled else "4:4:4")
    return file.getvalue()


@registry.register("compression")
@dataclass
class Compression:
    """JPEG or WebP, whose blocks may begin anywhere.

    `quality`: range, 1 to 100. `webp`: share of WebP. `subsampled`: share of the JPEGs that keep colours at half the
    resolution, as those of most cameras do.
    """

    probability: Share = 1
    quality: Qualities = (40, 95)
    webp: Share = 0.1
    subsampled: Share = 0.8

    def __call__(self, picture: np.ndarray, lr_size: Size, source: np.random.Generator) -> np.ndarray:
        quality = int(source.integers(self.quality[0], self.quality[1] + 1))
        top, left = map(int, source.integers(BLOCK, size=2))
        padded = np.pad(picture, ((top, 0), (left, 0), (0, 0)), "reflect" if min(picture.shape[:2]) > 1 else "edge")
        webp, subsampled = source.random(2) < (self.webp, self.subsampled)
        with Image.open(io.BytesIO(encoded(padded, quality, webp, subsampled))) as file:
            return np.array(file.convert("RGB"))[top:, left:]


class Degradation:
    """Makes LR pictures as they occur of HR pictures.

    `settings`: `clean`, the probability that an LR picture is made by bicubic alone (0); `second`, that the steps
    happen twice (0.5); and the arguments of each step that may happen: `blur`, `resize`, `noise`, `ringing`,
    `compression`. A pass is blur, resizing and noise in random order, then compression; the last one always resizes, to
    the LR size, which ringing may follow. InputError for unknown keys and values of another kind.
    """

    def __init__(self, settings: Mapping[str, Any]):
        check_keys(settings, ("clean", "second", *registry.factories), "degradation")
        shares = {key: settings.get(key, default) for key, default in (("clean", 0), ("second", 0.5))}
        for key, share in shares.items():
            check(f"degradation.{key}", share, between(0, 1))
        self.clean, self.second = shares["clean"], shares["second"]
        self.steps: dict[str, Step] = {
            name: registry.make({"name": name, "args": settings[name]})
            for name in registry.factories
            if settings.get(name) is not None
        }
        if not self.steps:
            raise InputError(f"degradation has no step; give it one of {', '.join(registry.factories)}, or remove it")

    def __call__(self, hr: np.ndarray, lr_size: Size) -> np.ndarray:
        """The LR picture of `lr_size` (h, w) of a picture (H, W, 3), uint8. Draws once from Python's random numbers:
        everything follows from that number."""
        source = np.random.default_rng(random.getrandbits(64))
        if source.random() < self.clean:
            return resize_bicubic(hr, lr_size)
        if source.random() < self.second:
            hr = self._passed(hr, lr_size, source, self._happens("resize", source))
        return self._passed(hr, lr_size, source, [self._to_lr_size])

    def _passed(
        self, picture: np.ndarray, lr_size: Size, source: np.random.Generator, resizing: Sequence[Callable]
    ) -> np.ndarray:
        """After one pass that resizes by `resizing`."""
        steps = [*self._happens("blur", source), *resizing, *self._happens("noise", source)]
        order = source.permutation(len(steps))
        for step in (*(steps[index] for index in order), *self._happens("compression", source)):
            picture = step(picture, lr_size, source)
        return picture

    def _to_lr_size(self, picture: np.ndarray, lr_size: Size, source: np.random.Generator) -> np.ndarray:
        picture = resized(picture, lr_size, source)
        for step in self._happens("ringing", source):
            picture = step(picture, lr_size, source)
        return picture

    def _happens(self, name: str, source: np.random.Generator) -> list[Step]:
        """The step of that name, if it happens."""
        step = self.steps.get(name)
        return [step] if step is not None and source.random() < step.probability else []
