"""From pictures to pictures: a model with its normalisation and device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from models import memory, precision
from models.capabilities import ANY_SCALE, EVERY_SIZE, SizeRequirements, Tiling
from models.continuous import ContinuousModel, Latent, paint_positions
from models.native import backends
from models.normalization import Normalization
from models.safeguards import (
    LARGEST_PIXEL,
    TRANSITION,
    Encoded,
    filter_share,
    keep_grey,
    limit_overshoot,
    pixel_size,
    reduced,
)
from utils.geometry.grids import Grid, OutputGrid
from utils.geometry.neighbours import PixelWindow
from utils.geometry.sizes import Size, check_output_size, is_enlarged

MARGIN = 5  # LR pixels that painting a position reads at most, to either side, where it enlarges


@dataclass
class Upscaler:
    """Pictures in [0, 1] through a model: `encode` once, then `render` at any number of sizes.

    The `model` is on `device` already. Without a `normalization` it is the model's own. `backend` is what computes on a
    CPU, see `backends.choose`; `precision` what the encoder computes in, float32 or bfloat16. Rendering is float32.
    Without `safeguards` the model alone is rendered, as papers measure it. `memory` is how many bytes of an
    accelerator's may be used (None: what is free).
    """

    model: ContinuousModel
    normalization: Normalization | None = None
    device: torch.device = torch.device("cpu")
    backend: str = "auto"
    precision: str = "float32"
    safeguards: bool = True
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.normalization is None:
            self.normalization = Normalization.of(*self.model.normalization)

    # As fields of spandrel's model descriptors, for programs that run models of any origin
    CAPABILITIES = (
        "scale_range", "input_channels", "supports_half", "supports_bfloat16", "size_requirements", "tiling"
    )  # fmt: skip

    @property
    def scale_range(self) -> tuple[float, float]:
        """Smallest and largest scale that the model was trained for, or is meant for; others work, too."""
        return self.model.trained_scales or ANY_SCALE

    @property
    def input_channels(self) -> int:
        """Channels of the tensors that `encode` takes, and `render` gives."""
        return 3

    @property
    def supports_half(self) -> bool:
        """Whether the whole model may be float16 (`model.half()`, and pictures in it)."""
        return torch.float16 in self.model.whole_types

    @property
    def supports_bfloat16(self) -> bool:
        """Whether the whole model may be bfloat16, within 50 dB of float32."""
        return torch.bfloat16 in self.model.whole_types

    @property
    def size_requirements(self) -> SizeRequirements:
        """Sizes of pictures that `encode` takes."""
        return EVERY_SIZE

    @property
    def tiling(self) -> Tiling:
        """Whether pictures may be cut into tiles to save memory."""
        return self.model.tiling

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Within the block, calls of the model are computed as this upscaler does: by its backend, in its
        precision, without gradients."""
        with (
            torch.inference_mode(),
            backends.using(self.backend),
            precision.using(self.precision),
            memory.bounded(self.memory),
        ):
            yield

    def encode(self, pictures: Tensor) -> Latent:
        """(B, 3, h, w) or (3, h, w) in [0, 1] -> latent."""
        with self.computing():
            pictures = pictures[None] if pictures.dim() == 3 else pictures
            pictures = pictures.to(self.device)
            if self.model.encodes:
                pictures = pictures.contiguous(memory_format=torch.channels_last)
            return self.model.encode(self.normalization.inp.apply(pictures))

    @property
    def context(self) -> int | None:
        """The model's, as this upscaler computes."""
        with self.computing():
            return self.model.context

    def encode_part(self, pictures: Tensor, pixels: PixelWindow) -> Latent:
        """As `encode`, of some `pixels` of pictures: (B, 3, height, width) in [0, 1], of which as many as `context` at
        a cut do not become a part of the latent.

        It renders those positions of enlarging grids of the whole picture that are MARGIN LR pixels away from a cut,
        within 1e-5 of those of the whole picture (bfloat16: within its rounding).
        """
        kept = pixels.shrunk(self.context)
        encoded = self.encode(pictures)
        inner = kept.within(pixels)
        return Latent(inner.of(encoded.features), inner.of(encoded.image), window=kept)

    def render(self, latent: Latent, grid: OutputGrid | Size, queries: int | None = None) -> Tensor:
        """Latent -> (B, 3, H, W) in [0, 1], clipped, on a grid: of an output size (H, W), or of a homography
        (`Homography.grid`), black where that leaves the picture.

        Where output pixels are larger than LR pixels the picture is reduced by an antialiased filter, unless the model
        `reduces` by itself: along an axis of a plain grid, of the model's picture at scale 1 there, and gradually
        where a warp varies. Scale 1 gives the input back. Other safeguards are in `models/safeguards.py`.

        With `queries`, positions are sampled one by one in passes of so many, as in training, instead of as a grid:
        slower, the same picture.
        """
        grid = Grid.of_size(check_output_size(grid)) if isinstance(grid, tuple) else grid
        input_size = latent.size
        with self.computing():
            if self.model.reduces:
                return self._painted(latent, grid, queries)
            if isinstance(grid, Grid):
                inner = tuple(map(max, grid.full_size, input_size))
                if is_enlarged(input_size, grid.full_size):
                    return self._painted(latent, grid, queries)
                of_input = inner == input_size
                picture = self._input(latent) if of_input else self._painted(latent, Grid.of_size(inner), queries)
                return reduced(picture, grid)
            size = pixel_size(grid, input_size)
            if size.max() <= LARGEST_PIXEL:
                return self._painted(latent, grid, queries)
            filtered = reduced(self._input(latent), grid)
            if size.min() >= TRANSITION * LARGEST_PIXEL:
                return filtered
            return self._painted(latent, grid, queries).lerp_(filtered, filter_share(size, grid).to(self.device))

    def _input(self, latent: Latent) -> Tensor:
        """The picture that was encoded, in [0, 1]."""
        return self.normalization.inp.invert(latent.image)

    def _painted(self, latent: Latent, grid: OutputGrid, queries: int | None) -> Tensor:
        """`render` by the model alone."""
        black = self.normalization.gt.apply(latent.image.new_zeros(latent.image.shape[1], 1, 1))
        if queries is None:
            picture = self.model.render(latent, grid, black)
        else:
            picture = black.expand(len(latent.image), -1, *grid.size).contiguous()
            paint_positions(self.model, self.model.field(latent, self.model.cell(latent, grid)), grid, picture, queries)
        self.normalization.gt.invert_(picture).clamp_(0, 1)
        if self.safeguards and not self.model.averages:
            encoded = Encoded.near(latent, self.normalization.inp, grid)
            if isinstance(grid, Grid):
                limit_overshoot(picture, encoded, grid)
            keep_grey(picture, encoded, grid)
        return picture

    def __call__(self, pictures: Tensor, grid: OutputGrid | Size) -> Tensor:
        """(B, 3, h, w) or (3, h, w) in [0, 1] -> (B, 3, H, W) in [0, 1]."""
        return self.render(self.encode(pictures), grid)
