"""LM-LIIF (LMF, CVPR 2024): LIIF with its MLP split into a latent MLP per LR pixel and a modulated render MLP."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models import computing
from models.continuous import Latent
from models.decoders.lmf import LMFDecoder, hidden_width
from models.encoders import make_encoder
from models.registry import make, register
from utils.geometry.grids import Size
from utils.geometry.neighbours import PixelWindow


@register("lmliif")
class LMLIIF(LMFDecoder):
    """Latent MLP on [3x3 unfolded features, cell]; render MLP on [code, offset, cell].

    `mod_input` false: no compressed code, the render MLP reads the encoder's features; `feat_unfold` false: the
    latent MLP reads each pixel's own features; `cell_decode` false: no cell in either; `local_ensemble` false: the
    nearest LR pixel only; `lr_skip` true: the bilinear LR picture is added (as in LTE; not in the published LM-LIIF).
    """

    intensity_range = 1.0

    def __init__(
        self,
        encoder_spec: Mapping[str, Any],
        imnet_spec: Mapping[str, Any],
        hypernet_spec: Mapping[str, Any],
        local_ensemble: bool = True,
        feat_unfold: bool = True,
        cell_decode: bool = True,
        mod_input: bool = True,
        lr_skip: bool = False,
    ):
        super().__init__()
        self.local_ensemble = local_ensemble
        self.feat_unfold = feat_unfold
        self.cell_decode = cell_decode
        self.mod_input = mod_input
        self.lr_skip = lr_skip
        self.encoder = make_encoder(encoder_spec)
        latent_dim = self.encoder.out_dim * (9 if feat_unfold else 1)
        cell_dim = 2 if cell_decode else 0
        self.code_dim = hidden_width(imnet_spec) if mod_input else self.encoder.out_dim
        self.imnet = self.make_render_mlp(imnet_spec, in_dim=self.code_dim + 2 + cell_dim)
        emitted = self.imnet.mod_dim + (self.code_dim if mod_input else 0)
        self.hypernet = make(hypernet_spec, in_dim=latent_dim + cell_dim, out_dim=emitted)

    def modulate(self, latent: Latent, inner: PixelWindow, cell: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        read = cell if self.cell_decode else None
        with computing.reduced(cell.device) as rounded:
            output = self.hypernet.on_latents(latent.features, inner, read, self.feat_unfold)
        modulation, code = self.split_output(output.float() if rounded else output)
        return modulation, code if self.mod_input else inner.of(latent.features)
