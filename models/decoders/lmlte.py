"""LM-LTE (LMF, CVPR 2024): the latent MLP reads Fourier features and emits smaller ones for the render MLP."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.continuous import Latent
from models.decoders.lmf import LMFDecoder, ModulatedField, hidden_width
from models.decoders.lte import fourier_features, fourier_table
from models.encoders import make_encoder
from models.layers.convolution import Convolution
from models.layers.mlp import linear_on_map
from models.registry import make, register
from utils.config import Even
from utils.geometry.grids import Size
from utils.geometry.neighbours import Neighbours, PixelWindow


@register("lmlte")
class LMLTE(LMFDecoder):
    """Latent MLP on the Fourier features of each LR pixel (at offset (1, 1)); render MLP on those of the position.

    `mod_input` true: the latent MLP also emits the amplitudes and frequencies (`hidden_dim` of the render MLP each)
    that the render MLP reads, with phases of their own (`imphase`); false: it reads the full ones. `cell_decode`
    false: no phases. The bilinear LR picture is added.
    """

    lr_skip = True

    def __init__(
        self,
        encoder_spec: Mapping[str, Any],
        imnet_spec: Mapping[str, Any],
        hypernet_spec: Mapping[str, Any],
        hidden_dim: Even = 128,
        local_ensemble: bool = True,
        cell_decode: bool = True,
        mod_input: bool = True,
    ):
        super().__init__()
        self.local_ensemble = local_ensemble
        self.cell_decode = cell_decode
        self.mod_input = mod_input
        self.encoder = make_encoder(encoder_spec)
        self.coef = Convolution(self.encoder.out_dim, hidden_dim, 3)
        self.freq = Convolution(self.encoder.out_dim, hidden_dim, 3)
        self.waves = wave_dim = hidden_width(imnet_spec) if mod_input else hidden_dim
        self.imnet = self.make_render_mlp(imnet_spec, in_dim=wave_dim)
        emitted = self.imnet.mod_dim + (2 * wave_dim if mod_input else 0)
        self.hypernet = make(hypernet_spec, in_dim=hidden_dim, out_dim=emitted)
        self.phase = nn.Linear(2, hidden_dim // 2, bias=False) if cell_decode else None
        self.imphase = nn.Linear(2, wave_dim // 2, bias=False) if cell_decode and mod_input else None

    def modulate(self, latent: Latent, inner: PixelWindow, cell: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        coef, freq = (inner.of(layer(latent.features)) for layer in (self.coef, self.freq))
        waves = fourier_features(fourier_table(coef, freq, phases(freq, cell, self.phase)), 1.0, 1.0)
        modulation, code = self.split_output(self.hypernet(waves).permute(0, 3, 1, 2))
        return modulation, code if self.mod_input else torch.cat([coef, freq], dim=1)

    def tabulate(self, code: Tensor, cell: Tensor) -> Tensor:
        coef, freq = code.chunk(2, dim=1)
        return fourier_table(coef, freq, phases(freq, cell, self.imphase if self.mod_input else self.phase))

    def latent_runs(self, pixels: int) -> list[tuple[nn.Module | int, int]]:
        networks = (self.coef, self.freq, self.phase, self.hypernet)
        return [(network, pixels) for network in networks if network is not None]

    def first_layer(self, field: ModulatedField, neighbours: Neighbours) -> Tensor:
        return self.imnet.layers[0](fourier_features(neighbours.gather(field.table), *neighbours.offsets()))


def phases(freq: Tensor, cell: Tensor, layer: nn.Linear | None) -> Tensor:
    """Phases (B, C/2, h or 1, w or 1) that a layer gives frequencies (B, C, h, w) for a cell; zero without a layer."""
    if layer is None:
        return freq.new_zeros(len(freq), freq.shape[1] // 2, 1, 1)
    return linear_on_map(cell, layer.weight)
