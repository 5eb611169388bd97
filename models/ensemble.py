"""Self-ensemble (Timofte et al., CVPR 2016): the mean over the eight flips and turns of a picture."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from models.continuous import Latent
from models.upscaler import Upscaler
from utils.geometry.grids import Grid, OutputGrid
from utils.geometry.sizes import Size, check_output_size
from utils.geometry.symmetries import SYMMETRIES


@dataclass
class Ensemble(Upscaler):
    """An upscaler that renders every picture in all eight orientations and averages: eight times the work."""

    @classmethod
    def of(cls, upscaler: Upscaler) -> "Ensemble":
        return cls(**{field.name: getattr(upscaler, field.name) for field in fields(Upscaler)})

    @property
    def context(self) -> None:
        """Parts are not turned: the picture is encoded whole."""
        return None

    def encode(self, pictures: Tensor) -> tuple[Latent, ...]:
        """(B, 3, h, w) or (3, h, w) in [0, 1] -> a latent for each of SYMMETRIES."""
        return tuple(super(Ensemble, self).encode(symmetry.of_picture(pictures)) for symmetry in SYMMETRIES)

    def render(self, latent: tuple[Latent, ...], grid: OutputGrid | Size, queries: int | None = None) -> Tensor:
        """Latents of `encode` -> (B, 3, H, W) in [0, 1], otherwise as `Upscaler.render`."""
        grid = Grid.of_size(check_output_size(grid)) if isinstance(grid, tuple) else grid
        total: Tensor | None = None
        for symmetry, own in zip(SYMMETRIES, latent, strict=True):
            output = symmetry.undone(super().render(own, symmetry.of_grid(grid), queries), grid)
            with torch.inference_mode():
                total = output.clone() if total is None else total.add_(output)
        with torch.inference_mode():
            return total.div_(len(SYMMETRIES))
