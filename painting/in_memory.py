"""An upscaler for other people's code: Pillow's images, arrays or tensors in, the same out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from models.checkpoints import networks
from models.checkpoints.loading import load_upscaler
from models.continuous import Latent
from models.upscaler import Upscaler
from models.zoo import DEFAULT
from painting.jobs import Job
from painting.layers import drawn_on, whole_grid
from painting.plan import plan
from painting.request import Request
from painting.torch_engine import TorchEngine
from pictures.colour import in_rgb
from pictures.formats import EVERYTHING, Format
from pictures.in_memory import as_given, check_unit, picture_of
from pictures.reading import read_picture
from pictures.tensors import Layers
from utils.errors import InputError
from utils.geometry.grids import Grid
from utils.geometry.sizes import Size, check_output_size, parse_scale
from utils.system import select_device

Given = TypeVar("Given", Image.Image, np.ndarray, Tensor)
_KINDS = ("L", "LA", "RGB", "RGBA", "CMYK")
MEMORY = Job(Path("picture"), Path("-"), Format("memory", dict.fromkeys((8, 16, 32), _KINDS), EVERYTHING))


@dataclass(frozen=True)
class PictureUpscaler:
    """Upscales or warps whatever holds a picture, and returns the same kind of thing: `upscaler(picture, scale=4)`.

    `upscaler` is the model behind it; its `render`, for many sizes of what `encode` gives, and its fields, such as
    `scale_range` and `tiling`, are this one's, too.
    """

    upscaler: Upscaler

    def __getattr__(self, name: str) -> Any:
        if name in (*Upscaler.CAPABILITIES, "render"):
            return getattr(self.upscaler, name)
        raise AttributeError(f"{type(self).__name__} has no attribute '{name}'")

    def __call__(
        self,
        picture: Given,
        scale: float | Sequence[float] | None = None,
        size: Size | None = None,
        homography: Any = None,
    ) -> Given:
        """The `picture` enlarged by `scale`, a number or (height, width) factors, or to `size`, (height, width); or
        warped by a `homography`, 3x3 numbers that map input pixels (x, y, 1) to output pixels, pixel centres being
        whole numbers as in OpenCV, to `size` or the size of the input. What a warp leaves empty is black, or
        transparent where the picture has alpha.

        Pillow's image: its mode comes back (palettes as what they hold, 1 bit as grey), upright by its EXIF, with its
        colour profile. Array (H, W) or (H, W, C), one to four channels, grey, RGB, either with alpha, uint8, uint16, or
        floats in [0, 1]: its type and axes come back. Tensor (B, 3, h, w) or (3, h, w) of floats in [0, 1], on any
        device: its type, axes and device come back, values in [0, 1]; no gradients.

        The model computes in float32 on the device that it was loaded to. Raises InputError, a ValueError, for anything
        else, for values out of range, and for sizes that are not possible.
        """
        if isinstance(picture, Tensor):
            return self._of_tensor(picture, scale, size, homography)
        if not isinstance(picture, Image.Image | np.ndarray):
            expected = "an image of Pillow, an array (H, W, C) or a tensor (B, 3, h, w)"
            raise InputError(f"a {type(picture).__name__} is not a picture; give {expected}")
        source = picture_of(picture)
        request = _request(source.size, scale, size, homography, None if source.pixel_format.has_alpha else "black")
        return as_given(TorchEngine(self.upscaler).paint(plan(request, MEMORY, source)).picture, picture)

    def encode(self, pictures: Tensor) -> Latent:
        """Tensor (B, 3, h, w) or (3, h, w) of floats in [0, 1] -> latent, for `render(latent, (height, width))`.
        InputError for anything else."""
        if not isinstance(pictures, Tensor):
            raise InputError(f"encode takes a tensor (B, 3, h, w) of floats in [0, 1], not a {type(pictures).__name__}")
        return self.upscaler.encode(_checked(pictures))

    def _of_tensor(self, tensor: Tensor, *options: Any) -> Tensor:
        pictures = _checked(tensor)
        given = tuple(pictures.shape[-2:])
        grid = whole_grid(_request(given, *options), given)
        if isinstance(grid, Grid):
            made = self.upscaler(pictures, grid)
        else:
            layers, covered = drawn_on(grid, lambda grid: Layers(self.upscaler(pictures, grid).cpu().flatten(0, 1)))
            made = (layers.colour * covered).unflatten(0, (-1, 3))
        return (made[0] if tensor.dim() == 3 else made).to(tensor.device, tensor.dtype)


def _checked(tensor: Tensor) -> Tensor:
    """(B, 3, h, w) or (3, h, w) -> (B, 3, h, w) float32 in [0, 1], without gradients; InputError for what is no
    picture."""
    pictures = tensor[None] if tensor.dim() == 3 else tensor
    what = f"a tensor of {tensor.dtype}, {tuple(tensor.shape)},"
    if pictures.dim() != 4 or pictures.shape[1] != 3 or 0 in pictures.shape:
        raise InputError(f"{what} is not a picture; expected (B, 3, h, w) or (3, h, w)")
    if not tensor.is_floating_point():
        raise InputError(f"{what} is not a picture; expected floats in [0, 1]: x.float() / 255")
    pictures = pictures.detach().float()
    check_unit(pictures.min().item(), pictures.max().item())
    return pictures.clamp(0, 1)


class Upscale:
    """Rows or batches of pictures through a model, for Ray Data, Dask and Spark: a callable on a dictionary, which is
    loaded once per worker, when it is first called there.

        ray.data.read_images(folder).map_batches(Upscale(scale=4), batch_size=16)
    """

    def __init__(
        self,
        model: str = DEFAULT,
        scale: float | Sequence[float] | None = None,
        size: Size | None = None,
        device: str = "auto",
        backend: str = "auto",
        key: str = "image",
        raises: bool = True,
    ):
        """Options as of `load` and `PictureUpscaler`; pictures are under `key`. Unless it `raises`, what is no picture
        becomes an empty one, (0, 0, 3), and why stands under "error", which is None for all others."""
        self.model, self.device, self.backend = model, device, backend
        self.scale, self.size, self.key, self.raises = scale, size, key, raises
        self._upscaler: PictureUpscaler | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_upscaler": None}  # each worker loads its own

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row, whose picture is as `PictureUpscaler` takes it, or the bytes of a file, which become an array; or
        a batch, a sequence or array (B, H, W, C) of such. The other entries are passed on."""
        given = row[self.key]
        is_batch = isinstance(given, list | tuple) or (isinstance(given, np.ndarray) and given.ndim in (1, 4))
        made, errors = zip(*map(self._made, given if is_batch else [given]), strict=True)
        others = dict(row) if self.raises else {**row, "error": _column(errors) if is_batch else errors[0]}
        return {**others, self.key: _column(made) if is_batch else made[0]}

    def _made(self, picture: Any) -> tuple[Any, str | None]:
        self._upscaler = self._upscaler or load(self.model, self.device, self.backend)
        try:
            if isinstance(picture, bytes):
                read = read_picture(picture, "the file")
                picture = (in_rgb(read) if read.channels == "CMYK" else read).pixels
            return self._upscaler(picture, scale=self.scale, size=self.size), None
        except InputError as error:
            if self.raises:
                raise
            return np.zeros((0, 0, 3), np.uint8), str(error)  # None would make Ray's columns of two types


def _column(values: Sequence[Any]) -> np.ndarray:
    """An array of values of one shape, or of any objects."""
    if all(isinstance(value, np.ndarray) for value in values) and len({value.shape for value in values}) == 1:
        return np.stack(values)
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _request(given: Size, scale: Any, size: Any, homography: Any, background: str | None = None) -> Request:
    """The request for an (h, w) picture; InputError for arguments that do not go together."""
    if (scale is None) == (size is None) and homography is None:
        raise InputError("give a scale, or a size (height, width), and not both")
    if size is not None and not (isinstance(size, Sequence) and [type(side) for side in size] == [int, int]):
        raise InputError(f"size {size} is not possible; expected two whole numbers, (height, width)")
    if homography is not None:
        matrix = getattr(homography, "matrix", homography)  # of utils.geometry's Homography
        try:
            homography = np.asarray(matrix.detach().cpu() if isinstance(matrix, Tensor) else matrix, np.float64)
        except (TypeError, ValueError):
            raise InputError("a homography is 3x3 finite numbers") from None
        size = given if size is None else size
    factors = None if scale is None else parse_scale(scale)
    sides = None if size is None else check_output_size(tuple(size))
    return Request(scale=factors, size=sides, homography=homography, background=background)


def load(model: str = DEFAULT, device: str = "auto", backend: str = "auto") -> PictureUpscaler:
    """A model, ready for images.

    model: short name of shipped weights (`s`, `lerf-g`, ...; an unknown one lists all), a checkpoint, a network of
        other people's (`some_x4.pth`; needs the package spandrel), a folder of LUTs, or a filter (`lanczos`, ...).
    device: auto, cpu, cuda, cuda:N or mps. backend: auto, native or torch, what computes on a CPU.

    Raises ValueError, of one line, for anything else.
    """
    chosen, _ = select_device(device)
    return PictureUpscaler(load_upscaler(model, chosen, backend=backend))


def descriptor(model: str = DEFAULT, scale: int = 4, device: str = "cpu", backend: str = "auto") -> Any:
    """A model at one whole `scale` as an `ImageModelDescriptor` of spandrel, which ComfyUI's and chaiNNer's upscale
    nodes take; `model` and `backend` as in `load`. Raises ValueError where a model or a scale is none, or spandrel is
    not installed."""
    return networks.descriptor(load(model, device, backend).upscaler, scale)
