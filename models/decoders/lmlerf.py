"""LM-LeRF: LM-LIIF whose LR picture is resampled by kernels that its latent MLP shapes, as in LeRF; or these alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models.continuous import ContinuousModel, Latent
from models.decoders.lmf import ModulatedField
from models.decoders.lmliif import LMLIIF
from models.encoders import make_encoder
from models.layers.mlp import linear_on_map, unfolded_linear
from models.native.lmf import RenderStage
from models.registry import make, register
from models.resampling.kernels import SteerableGaussian
from models.resampling.resampler import Resampler, ResamplingField
from utils.geometry.grids import Grid, OutputGrid, cell_in_pixels

CHANNELS = 3
LATENT_MLP = {"name": "mlp", "args": {"hidden_list": [128]}}
# Of an untrained kernel, before the sigmoid: correlation 0, and inverse widths of 2.4 per LR pixel, as wide as that
# of bilinear interpolation.
START = {"rho": 0.0, "sigma_x": -1.15, "sigma_y": -1.15}


class WindowedGaussian(SteerableGaussian):
    """LeRF-G's kernel, which vanishes at the border of its support, so that values change continuously."""

    def weight(self, dy: Tensor, dx: Tensor, hyper: Any) -> Tensor:
        window_y, window_x = ((1 - (d / self.radius) ** 2).clamp(min=0) ** 2 for d in (dy, dx))
        return super().weight(dy, dx, hyper) * (window_y * window_x)


class KernelHead:
    """The last channels of a latent MLP as a picture to resample: with `prefilter` what is added to the LR picture,
    then the hyper-parameters of each channel's kernel of `support` x `support` pixels."""

    def __init__(self, support: int, prefilter: bool):
        self.kernel, self.prefilter = WindowedGaussian(support / 2), prefilter
        self.channels = CHANNELS * (prefilter + len(self.kernel.hyper_parameters))

    def table(self, image: Tensor, emitted: Tensor) -> Tensor:
        """(B, 3, h, w) and (B, channels, h, w) -> (B, 3 + 9, h, w), as a `Resampler` takes it."""
        emitted = emitted.float()  # autocast
        if self.prefilter:
            image = image + emitted[:, :CHANNELS]
        start = emitted.new_tensor([START[name] for name in self.kernel.hyper_parameters])
        shape = emitted[:, -CHANNELS * len(start) :] + start.repeat_interleave(CHANNELS)[:, None, None]
        return torch.cat([image, shape.sigmoid()], dim=1)


@dataclass(frozen=True, kw_only=True)
class SteeredField(ModulatedField):
    """`skip` (B, 3 + 9, h, w) is resampled by `resampler`, at the place of bilinear interpolation."""

    resampler: Resampler

    @property
    def resampling(self) -> ResamplingField:
        return ResamplingField(
            self.skip.permute(0, 2, 3, 1).contiguous(), stretch=self.skip.new_ones(self.batch, 2, 1, 1)
        )

    def skip_at(self, coord: Tensor) -> Tensor:
        return self.resampler.sample(self.resampling, coord.flatten(1, -2)).unflatten(1, coord.shape[1:-1])


class LMLeRF(LMLIIF):
    """The render MLP gives the difference to the LR picture, which kernels resample."""

    def __init__(
        self, encoder_spec: Mapping[str, Any], imnet_spec: Mapping[str, Any], hypernet_spec: Mapping[str, Any],
        head: KernelHead,
    ):  # fmt: skip
        super().__init__(encoder_spec, imnet_spec, hypernet_spec, lr_skip=True)
        self.head = head
        self.resampler = Resampler(head.kernel, antialias=False)
        in_dim, emitted = self.hypernet.layers[0].in_features, self.imnet.mod_dim + self.code_dim
        self.hypernet = make(hypernet_spec, in_dim=in_dim, out_dim=emitted + head.channels)

    strip_context = None

    def rows_at_a_time(self, latent: Latent) -> None:
        """All: kernels reach further than the render MLP."""

    def tabulate(self, code: Tensor, cell: Tensor) -> Tensor:
        return super().tabulate(code[:, : self.code_dim], cell)  # the head's channels follow

    def field(self, latent: Latent, cell: Tensor) -> SteeredField:
        field = super().field(latent, cell)
        table = self.head.table(latent.image, field.code[:, self.code_dim :])
        return SteeredField(**{**vars(field), "skip": table}, resampler=self.resampler)

    def native_stage(self, field: ModulatedField) -> RenderStage | None:
        return super().native_stage(field) if field.skip is None else None

    def paint(self, field: SteeredField, grid: OutputGrid, output: Tensor, chosen: Tensor | None = None) -> None:
        if chosen is not None or not isinstance(grid, Grid):
            super().paint(field, grid, output, chosen)
            return
        super().paint(replace(field, skip=None), grid, output)
        resampled = torch.empty_like(output)
        self.resampler.paint(field.resampling, grid, resampled)
        output += resampled


class SteeredKernels(Resampler):
    """Kernels alone, at the price of a LeRF."""

    averages = False
    trained_scales = (1.0, 4.0)

    def __init__(self, encoder_spec: Mapping[str, Any], hypernet_spec: Mapping[str, Any], head: KernelHead):
        super().__init__(head.kernel, antialias=False)
        self.head = head
        self.encoder = make_encoder(encoder_spec)
        self.latent_dim = 9 * self.encoder.out_dim
        self.hypernet = make(hypernet_spec, in_dim=self.latent_dim + 2, out_dim=head.channels)

    def field(self, latent: Latent, cell: Tensor) -> ResamplingField:
        first = self.hypernet.layers[0]
        of_latent, of_cell = first.weight.split([self.latent_dim, 2], dim=1)
        in_pixels = cell_in_pixels(cell.to(latent.image.device), latent.size)
        hidden = unfolded_linear(latent.features, of_latent, first.bias) + linear_on_map(in_pixels, of_cell)
        emitted = self.hypernet.after_first_on_map(hidden)
        return super().field(replace(latent, features=self.head.table(latent.image, emitted)), cell)

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        return [(self.hypernet, pixels)]


@register("lmlerf")
def lmlerf(
    encoder_spec: Mapping[str, Any],
    imnet_spec: Mapping[str, Any] | None = None,
    hypernet_spec: Mapping[str, Any] | None = None,
    support: Literal[4, 6] = 4,
    prefilter: bool = True,
) -> ContinuousModel:
    """LM-LeRF with kernels of `support` x `support` pixels, or without an `imnet_spec` the kernels alone."""
    head, hypernet_spec = KernelHead(support, prefilter), hypernet_spec or LATENT_MLP
    if imnet_spec is None:
        return SteeredKernels(encoder_spec, hypernet_spec, head)
    return LMLeRF(encoder_spec, imnet_spec, hypernet_spec, head)
