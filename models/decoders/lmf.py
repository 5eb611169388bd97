"""LMF (He and Jin, CVPR 2024): what LM-LIIF, LM-LTE and LM-CiaoSR share.

A *latent MLP* (`hypernet`) runs once per LR pixel and emits the modulations of a tiny *render MLP* (`imnet`) that
runs per output pixel, and a compressed latent code that the render MLP reads. A decoder says how the modulations come
about (`modulate`); one whose render MLP reads more than [code, offset, cell] also says what its first layer sees.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from models.continuous import Field, Latent, LocalEnsembleModel
from models.layers.lmmlp import LMMLP
from models.layers.mlp import linear_on_map
from models.registry import make
from utils.coords import Corners, cell_in_pixels
from utils.errors import InputError


def hidden_width(imnet_spec: Mapping[str, Any]) -> int:
    """`hidden_dim` of the render MLP that a spec describes: the latent codes are as wide."""
    return (imnet_spec.get("args") or {}).get("hidden_dim", 16)


@dataclass(frozen=True, kw_only=True)
class ModulatedField(Field):
    """A field whose `table` is what an LR pixel gives the render MLP's first layer, made of `code` (B, c, h, w), the
    compressed latent, and the cell; `scales` and `shifts` (D, B, h, w, hidden_dim) modulate the D layers."""

    code: Tensor
    scales: Tensor | None
    shifts: Tensor | None


class LMFDecoder(LocalEnsembleModel):
    """Base of the LMF decoders.

    A subclass makes its `encoder`, calls `make_render_mlp`, and implements `modulate`.
    """

    intensity_range = 0.5
    """Up to where intensities are scanned when a scale2mod table is made."""

    imnet: LMMLP
    code_dim: int
    cell_decode: bool
    lr_skip: bool

    def make_render_mlp(self, imnet_spec: Mapping[str, Any], in_dim: int) -> LMMLP:
        """The render MLP for inputs of `in_dim` channels."""
        imnet = make(imnet_spec, in_dim=in_dim, out_dim=3)
        if not isinstance(imnet, LMMLP):
            raise InputError(f"the render MLP of an LMF decoder is an 'lmmlp', not '{imnet_spec['name']}'")
        self.floats_per_query = 4 * imnet.hidden_dim  # four corners
        return imnet

    def split_output(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """The latent MLP's output (B, mod_dim + c, h, w) -> modulations and what follows them."""
        return output.split([self.imnet.mod_dim, output.shape[1] - self.imnet.mod_dim], dim=1)

    def modulate(self, latent: Latent, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Latent and cell -> modulations (B, mod_dim, h, w) and code (B, code_dim, h, w)."""
        raise NotImplementedError

    def tabulate(self, code: Tensor, cell: Tensor) -> Tensor:
        """The render MLP's first layer on [code, cell], (B, h, w, hidden_dim): all of it but the offset columns."""
        first = self.imnet.layers[0]
        of_code, _, of_cell = first.weight.tensor_split([self.code_dim, self.code_dim + 2], dim=1)
        hidden = linear_on_map(code, of_code, first.bias)
        if self.cell_decode:
            hidden = hidden + linear_on_map(cell_in_pixels(cell, code.shape[-2:]), of_cell)
        return hidden.permute(0, 2, 3, 1)

    def first_layer(self, field: ModulatedField, corners: Corners) -> Tensor:
        """The render MLP's first layer at the positions, before modulation: (K, K, B, *T, hidden_dim)."""
        of_offset = self.imnet.layers[0].weight[:, self.code_dim : self.code_dim + 2]
        return corners.gather(field.table) + corners.project_offset(of_offset)

    def field(self, latent: Latent, cell: Tensor) -> ModulatedField:
        modulation, code = self.modulate(latent, cell)
        scales, shifts = self.imnet.split(modulation.permute(0, 2, 3, 1))
        return ModulatedField(
            table=self.tabulate(code, cell),
            skip=latent.image if self.lr_skip else None,
            code=code,
            scales=scales,
            shifts=shifts,
        )

    def intensity(self, field: ModulatedField) -> Tensor:
        """How much each LR pixel modulates, (B, h, w): mean magnitude of the second half of its modulations (the
        shifts)."""
        layers = [layer for half in (field.scales, field.shifts) if half is not None for layer in half]
        modulation = torch.cat(layers, dim=-1)
        return modulation[..., modulation.shape[-1] // 2 :].abs().mean(-1)

    def with_cell(self, field: ModulatedField, cell: Tensor) -> ModulatedField:
        """The same modulations read with another output pixel size."""
        return replace(field, table=self.tabulate(field.code, cell))

    def latent_runs(self, pixels: int) -> list[tuple[nn.Module | int, int]]:
        """The latent MLP's part of `network_runs`."""
        raise NotImplementedError

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        return [*self.latent_runs(pixels), (self.imnet, self.corners * queries)]

    def query(self, field: ModulatedField, corners: Corners) -> Tensor:
        scales, shifts = (
            None if layers is None else (corners.gather(layer) for layer in layers)
            for layers in (field.scales, field.shifts)
        )
        return corners.blend(self.imnet.after_first(self.first_layer(field, corners), scales, shifts))
