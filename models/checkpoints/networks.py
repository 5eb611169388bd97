"""Networks of other programs, by the optional package spandrel, and models of this project as its descriptors."""

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from models import computing
from models.continuous import Latent, Tiling
from models.registry import check_parameters, limited
from models.resampling.filters import Lanczos
from models.upscaler import Upscaler
from utils import progress
from utils.errors import InputError, shortened

NETWORK = "spandrel"  # in the place of a registry name: the architecture follows from the parameters
TILE, OVERLAP = 512, 32  # LR pixels of a tile's side, and around it


def _spandrel() -> ModuleType:
    try:
        import spandrel
    except ImportError:
        raise InputError("networks of other programs need the package spandrel: pip install spandrel") from None
    return spandrel


class SpandrelNetwork(Lanczos):
    """A network of a fixed scale: its own picture at that scale, resampled by Lanczos wherever it is rendered.

    `sd` is a state dict; InputError where spandrel is not installed, does not know its architecture, or its network
    takes neither RGB nor grey pictures (each channel is then one).
    """

    normalization = (0.0, 1.0)
    reduces = False
    averages = False
    context = None

    def __init__(self, sd: Any):
        super().__init__()
        spandrel = _spandrel()
        parameters = check_parameters(spandrel.canonicalize_state_dict(dict(sd)))
        try:
            with limited(parameters), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of architectures as their authors wrote them
                network = spandrel.ModelLoader().load_from_state_dict(dict(parameters))
        except InputError:
            raise
        except Exception as error:  # its own errors have no common base
            raise InputError(f"spandrel knows no such network ({shortened(str(error))})") from None
        channels = (network.input_channels, network.output_channels)
        if not isinstance(network, spandrel.ImageModelDescriptor) or channels not in ((3, 3), (1, 1)):
            ends = f"{channels[0]} channels in, {channels[1]} out"
            raise InputError(f"this network ({network.purpose}) has {ends}; expected RGB")
        self.descriptor = network
        self.encoder = network.model.requires_grad_(False).eval()
        self.scale = network.scale
        self.trained_scales = (float(network.scale),) * 2
        self.tiling = Tiling[network.tiling.name]
        halves = {torch.float16: network.supports_half, torch.bfloat16: network.supports_bfloat16}
        self.whole_types = tuple(dtype for dtype, supported in halves.items() if supported)

    @property
    def encodes(self) -> bool:
        return self.descriptor.supports_bfloat16

    @property
    def pixel_bytes(self) -> int:
        return 24 * self.scale**2 + 48  # the picture as it comes out, and as it is resampled

    @torch.no_grad()
    def encode(self, image: Tensor) -> Latent:
        """Features (B, 3, scale * h, scale * w) in [0, 1]; computed in tiles, where the network allows it."""
        batch, _, height, width = image.shape
        scale, tile = self.scale, TILE if self.tiling is Tiling.SUPPORTED else max(height, width)
        output = image.new_empty(batch, 3, scale * height, scale * width)
        with progress.stage("encoding", height * width), computing.reduced(image.device):
            for top, left in itertools.product(range(0, height, tile), range(0, width, tile)):
                first_y, first_x = max(top - OVERLAP, 0), max(left - OVERLAP, 0)
                part = image[:, :, first_y : top + tile + OVERLAP, first_x : left + tile + OVERLAP]
                place = output[:, :, scale * top : scale * (top + tile), scale * left : scale * (left + tile)]
                y, x = scale * (top - first_y), scale * (left - first_x)
                for given, made in zip(part, place, strict=True):
                    pictures = given[:, None] if self.descriptor.input_channels == 1 else given[None]
                    values = torch.cat([self.descriptor(picture[None]) for picture in pictures]).flatten(0, 1)
                    made.copy_(values[:, y : y + made.shape[1], x : x + made.shape[2]])
                progress.advance(place[0, 0].numel() // scale**2)
        return Latent(output, image)

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        return [(self.encoder, pixels)]


def network_spec(content: Any) -> dict[str, Any] | None:
    """`{name, sd}` of a file that holds a state dict, bare or under a key such as `params_ema`; None for others."""
    parts = [content, *content.values()] if isinstance(content, Mapping) else []
    values = [value for part in parts if isinstance(part, Mapping) for value in part.values()]
    return {"name": NETWORK, "sd": content} if any(isinstance(value, Tensor) for value in values) else None


class AtOneScale(nn.Module):
    """An upscaler as a network of one `scale`: (B, 3, h, w) -> (B, 3, scale * h, scale * w), both in [0, 1]."""

    def __init__(self, upscaler: Upscaler, scale: int):
        super().__init__()
        self.model, self.upscaler, self.scale = upscaler.model, upscaler, scale
        self.place = nn.Parameter(torch.zeros(1), requires_grad=False)  # says the device; filters have no parameters

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        return replace(self.upscaler, device=image.device)(image, (self.scale * height, self.scale * width))


def descriptor(upscaler: Upscaler, scale: int) -> Any:
    """spandrel's `ImageModelDescriptor` of an upscaler at one scale; InputError where spandrel is not installed, or the
    scale is no whole number from 1."""
    if type(scale) is not int or scale < 1:
        raise InputError(f"scale {shortened(scale)} is not possible; a descriptor has a whole number from 1")
    spandrel = _spandrel()

    class Continua(spandrel.Architecture):
        def load(self, state_dict: Any) -> Any:
            raise NotImplementedError("continua.descriptor makes these")

    network = AtOneScale(upscaler, scale).eval()
    return spandrel.ImageModelDescriptor(
        network, network.state_dict(), Continua(id="Continua", detect=lambda _: False),
        purpose="SR" if scale > 1 else "Restoration", tags=[type(upscaler.model).__name__, f"x{scale}"],
        supports_half=upscaler.supports_half, supports_bfloat16=upscaler.supports_bfloat16, scale=scale,
        input_channels=3, output_channels=3, tiling=spandrel.ModelTiling[upscaler.tiling.name],
    )  # fmt: skip
