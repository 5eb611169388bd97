"""Pictures through a model, with its normalisation, device and precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from models import computing, safeguards
from models.continuous import ContinuousModel, Latent, Tiling, paint_positions
from models.native import backends
from models.normalization import Normalization
from utils.geometry.grids import Grid, OutputGrid
from utils.geometry.neighbours import PixelWindow
from utils.geometry.sizes import Size, check_output_size, is_enlarged
from utils.geometry.symmetries import SYMMETRIES

MARGIN = 5  # LR pixels that painting a position reads at most, to either side, where it enlarges


@dataclass
class Upscaler:
    """Pictures in [0, 1] through a model: `encode` once, then `render` at any number of sizes.

    The `model` is on `device` already. Without a `normalization` it is the model's own. `backend` is what computes on a
    CPU, see `backends.choose`; `precision` what the encoder computes in, float32 or bfloat16. Rendering is float32.
    Without `safeguards` the model alone is rendered, as papers measure it; one that `is_deep`, for outputs of 16 bits,
    keeps gradients smooth. `memory` is how many bytes of an accelerator's may be used (None: what is free).
    """

    model: ContinuousModel
    normalization: Normalization | None = None
    device: torch.device = torch.device("cpu")
    backend: str = "auto"
    precision: str = "float32"
    safeguards: bool = True
    is_deep: bool = False
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.normalization is None:
            self.normalization = Normalization.of(*self.model.normalization)

    # As fields of spandrel's model descriptors, for programs that run models of any origin
    CAPABILITIES = ("scale_range", "input_channels", "supports_half", "supports_bfloat16", "tiling")
    input_channels = 3

    @property
    def scale_range(self) -> tuple[float, float]:
        """Smallest and largest scale that the model was trained for, or is meant for; others work, too."""
        return self.model.trained_scales or (0.0, float("inf"))

    @property
    def supports_half(self) -> bool:
        """Whether the whole model may be float16 (`model.half()`, and pictures in it)."""
        return torch.float16 in self.model.whole_types

    @property
    def supports_bfloat16(self) -> bool:
        """Whether the whole model may be bfloat16, within 50 dB of float32."""
        return torch.bfloat16 in self.model.whole_types

    @property
    def tiling(self) -> Tiling:
        """Whether pictures may be cut into tiles to save memory."""
        return self.model.tiling

    def of_depth(self, depth: int, precision: str = "float32") -> "Upscaler":
        """For outputs of so many bits a channel: beyond 8, whose levels bfloat16 cannot tell apart, in `precision`, and
        of up to 16 with smooth gradients."""
        return self if depth <= 8 else replace(self, precision=precision, is_deep=depth <= 16)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Within the block, the model computes by this upscaler's backend, in its precision, without gradients."""
        in_precision, in_memory = computing.using(self.precision), computing.bounded(self.memory)
        with torch.inference_mode(), backends.using(self.backend), in_precision, in_memory:
            yield

    def encode(self, pictures: Tensor) -> Latent:
        """(B, 3, h, w) or (3, h, w) in [0, 1] -> latent."""
        with self.computing():
            pictures = (pictures[None] if pictures.dim() == 3 else pictures).to(self.device)
            if self.model.encodes:
                pictures = pictures.contiguous(memory_format=torch.channels_last)
            return self.model.encode(self.normalization.inp.apply(pictures))

    @property
    def context(self) -> int | None:
        """`model.context` under this backend and precision."""
        with self.computing():
            return self.model.context

    def encode_part(self, pictures: Tensor, pixels: PixelWindow) -> Latent:
        """As `encode`, of some `pixels` of pictures: (B, 3, height, width) in [0, 1], of which as many as `context` at
        a cut do not become a part of the latent.

        It renders those positions of enlarging grids of the whole picture that are MARGIN LR pixels away from a cut,
        within 1e-5 of those of the whole picture (bfloat16: within its rounding).
        """
        kept = pixels.shrunk(self.context)
        encoded, inner = self.encode(pictures), kept.within(pixels)
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
        size = latent.size
        with self.computing():
            if self.model.reduces or (isinstance(grid, Grid) and is_enlarged(size, grid.full_size)):
                return self._painted(latent, grid, queries)
            if isinstance(grid, Grid):
                inner = Grid.of_size(tuple(map(max, grid.full_size, size)))
                given = self._input(latent) if inner.size == size else self._painted(latent, inner, queries)
                return safeguards.reduced(given, grid)
            pixels = safeguards.pixel_size(grid, size)
            if pixels.max() <= safeguards.LARGEST_PIXEL:
                return self._painted(latent, grid, queries)
            filtered = safeguards.reduced(self._input(latent), grid)
            if pixels.min() >= safeguards.TRANSITION * safeguards.LARGEST_PIXEL:
                return filtered
            return self._painted(latent, grid, queries).lerp_(
                filtered, safeguards.filter_share(pixels, grid).to(self.device)
            )

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
            encoded = safeguards.near(latent, self.normalization.inp, grid)
            if isinstance(grid, Grid):
                safeguards.limit_overshoot(picture, encoded, grid)
                if self.is_deep:
                    safeguards.smooth_gradients(picture, encoded, grid)
            safeguards.keep_grey(picture, encoded, grid)
        return picture

    def __call__(self, pictures: Tensor, grid: OutputGrid | Size) -> Tensor:
        """(B, 3, h, w) or (3, h, w) in [0, 1] -> (B, 3, H, W) in [0, 1]."""
        return self.render(self.encode(pictures), grid)


@dataclass
class Ensemble(Upscaler):
    """Self-ensemble (Timofte et al., CVPR 2016): the mean over the eight flips and turns of a picture, eight times the
    work."""

    context = None  # parts are not turned: the picture is encoded whole

    @classmethod
    def of(cls, upscaler: Upscaler) -> "Ensemble":
        return cls(**{field.name: getattr(upscaler, field.name) for field in fields(Upscaler)})

    def encode(self, pictures: Tensor) -> tuple[Latent, ...]:
        """(B, 3, h, w) or (3, h, w) in [0, 1] -> a latent for each of SYMMETRIES."""
        return tuple(super(Ensemble, self).encode(symmetry.of_picture(pictures)) for symmetry in SYMMETRIES)

    def render(self, latent: tuple[Latent, ...], grid: OutputGrid | Size, queries: int | None = None) -> Tensor:
        """Latents of `encode` -> (B, 3, H, W) in [0, 1], otherwise as `Upscaler.render`."""
        grid = Grid.of_size(check_output_size(grid)) if isinstance(grid, tuple) else grid
        total: Tensor | None = None
        with torch.inference_mode():
            for symmetry, own in zip(SYMMETRIES, latent, strict=True):
                output = symmetry.undone(super().render(own, symmetry.of_grid(grid), queries), grid)
                total = output if total is None else total.add_(output)
            return total.div_(len(SYMMETRIES))
