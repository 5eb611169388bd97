"""From pictures to pictures: a model with its normalisation and device."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models import native
from models.cmsr.rendering import ControlledPicture, Level, render_controlled
from models.continuous import ContinuousModel, Field, Latent
from models.normalization import Normalization
from utils.geometry.grids import Grid, Size, cell_of
from utils.geometry.homographies import LARGEST_CELL, Homography


@dataclass(frozen=True)
class Upscaler:
    """Pictures in [0, 1] through a model: `encode` once, then `render` at any number of sizes.

    Without a `normalization` it is the model's own. `backend` as in `models.native.choose`.
    """

    model: ContinuousModel
    normalization: Normalization | None = None
    device: torch.device = torch.device("cpu")
    backend: str = "auto"

    def __post_init__(self) -> None:
        native.check(self.backend, self.model.kernel_library)
        self.model.backend = self.backend
        if self.normalization is None:
            object.__setattr__(self, "normalization", Normalization.for_model(self.model))
        self.model.to(self.device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def encode(self, pictures: Tensor) -> Latent:
        """(B, 3, h, w) or (3, h, w) in [0, 1] -> latent."""
        pictures = pictures[None] if pictures.dim() == 3 else pictures
        pictures = pictures.to(self.device).contiguous(memory_format=torch.channels_last)
        return self.model.encode(self.normalization.inp.apply(pictures))

    @torch.inference_mode()
    def field(self, latent: Latent, size: Size) -> Field:
        """Latent -> field for an output of `size` (H, W), its cell clipped at the largest trained scale."""
        return self.model.field(latent, self.cell(latent, size))

    def cell(self, latent: Latent, size: Size) -> Tensor:
        """(B, 2) output pixel size for an output of `size` (H, W), clipped at the largest trained scale."""
        input_size = tuple(latent.image.shape[-2:])
        largest_scale = self.model.trained_scales and self.model.trained_scales[1]
        cell = cell_of(size, input_size, largest_scale).to(self.device)
        return cell.expand(len(latent.image), 2)

    @torch.inference_mode()
    def render(self, latent: Latent, size: Size, queries: int | None = None) -> Tensor:
        """Latent -> (B, 3, H, W) in [0, 1], clipped, for `size` (H, W).

        With `queries`, positions are sampled one by one in passes of so many, as in training, instead of as a grid:
        slower, the same picture.
        """
        grid = Grid.of_size(size, self.device)
        if queries is None:
            picture = self.model.render_latent(latent, self.cell(latent, size), grid)
        else:
            field = self.field(latent, size)
            coord = grid.coord().flatten(0, 1).expand(len(latent.image), -1, -1)
            values = [self.model.sample(field, part) for part in coord.split(queries, dim=1)]
            picture = torch.cat(values, dim=1).transpose(1, 2).unflatten(2, size)
        return self.normalization.gt.invert_(picture).clamp_(0, 1)

    @torch.inference_mode()
    def warp(self, latent: Latent, homography: Homography, size: Size, antialias: bool = True) -> tuple[Tensor, Tensor]:
        """Latent -> its picture under a homography of the input's pixels, (B, 3, H, W) in [0, 1], clipped, for `size`
        (H, W), and which output pixels lie inside the input picture, (H, W) on the CPU; the others are black.

        Every input pixel is prepared for the size that output pixels have there, at least that of the largest trained
        scale; without `antialias` at most for its own size.
        """
        input_size = tuple(latent.image.shape[-2:])
        largest_scale = self.model.trained_scales and self.model.trained_scales[1]
        largest_cell = LARGEST_CELL if antialias else 1.0
        cell = homography.cell(input_size, largest_scale, largest_cell).to(self.device)
        cell = cell.expand(len(latent.image), -1, -1, -1)
        picture, inside = self.model.warp_latent(latent, cell, homography.grid(input_size, size))
        picture = self.normalization.gt.invert_(picture).clamp_(0, 1)
        picture *= inside.to(self.device)
        return picture, inside

    @torch.inference_mode()
    def render_controlled(
        self, latent: Latent, size: Size, levels: Sequence[Level], measure: str
    ) -> tuple[Tensor, ControlledPicture]:
        """As `render`, by CMSR with the given levels and measure, and what was rendered where."""
        controlled = render_controlled(self.model, self.field(latent, size), latent.image, size, levels, measure)
        return self.normalization.gt.invert_(controlled.picture).clamp_(0, 1), controlled

    def __call__(self, pictures: Tensor, size: Size) -> Tensor:
        """(B, 3, h, w) or (3, h, w) in [0, 1] -> (B, 3, H, W) in [0, 1]."""
        return self.render(self.encode(pictures), size)
