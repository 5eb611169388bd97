"""A picture that a model has encoded: any window at any scale, as demo.py paints it."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock

import torch
from torch import Tensor

from models.continuous import Field, Latent
from models.local_ensemble import LocalEnsembleModel
from models.upscaler import Upscaler
from painting.layers import continued, paint, with_outside
from pictures.tensors import Layers
from utils.geometry.grids import Grid, OutputGrid, Size
from utils.geometry.homographies import WarpedGrid
from utils.geometry.neighbours import PixelWindow
from web.budget import Budget, Key

FIELD_SHARE = 0.25  # of the budget, that one field may take
WORKING = 96  # floats per LR pixel that an encoder holds beside its features


@dataclass(frozen=True)
class Encoding:
    """Latents of a picture's colours and alpha, each by the upscaler that paints it, in the order of painting."""

    layers: Layers
    latents: tuple[Latent, ...]

    @classmethod
    def of(cls, upscaler: Upscaler, layers: Layers) -> "Encoding":
        """Encode once; colours below transparency are continued, as in `paint`."""
        if layers.alpha is not None:
            layers = replace(layers, colour=continued(layers.colour, layers.alpha))
        latents: list[Latent] = []

        def encode(part_upscaler: Upscaler, part: Tensor) -> Tensor:
            latents.append(part_upscaler.encode(part))
            return part

        paint(upscaler, layers, encode)
        return cls(layers, tuple(latents))

    @staticmethod
    def needed(upscaler: Upscaler, size: Size) -> int:
        """Bytes that encoding an (h, w) picture takes, about."""
        features = getattr(getattr(upscaler.model, "encoder", None), "out_dim", 3)
        return size[0] * size[1] * 4 * (2 * features + WORKING)

    def draw(self, upscaler: Upscaler, grid: OutputGrid) -> Layers:
        """The picture on a grid, of the size that the grid has."""
        latents = iter(self.latents)
        return paint(upscaler, self.layers, lambda by, _: by.render(next(latents), grid)[0])

    def window(self, upscaler: Upscaler, full: Size, top: int, left: int, size: Size) -> Layers:
        """The window of `size` (H, W) of the picture at the size `full`: what `demo.py --size --crop` paints."""
        return self.draw(upscaler, Grid.of_size(full).window(top, left, size))

    def on_warped(self, upscaler: Upscaler, grid: WarpedGrid) -> Layers:
        """The picture on a warped grid, transparent outside."""
        return with_outside(self.draw(upscaler, grid), grid.inside(), None)


class Processors:
    """Shares as many processors as PyTorch now computes with among the calls that prepare fields side by side: tiles,
    which themselves have one each, wait for the field that they have in common."""

    def __init__(self) -> None:
        self._count, self._running, self._lock = torch.get_num_threads(), 0, Lock()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Within the block this thread computes with its share."""
        before = torch.get_num_threads()
        with self._lock:
            self._running += 1
            share = max(before, self._count // self._running)
        torch.set_num_threads(share)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            with self._lock:
                self._running -= 1


def with_kept_fields(upscaler: Upscaler, budget: Budget, key: Key, processors: Processors) -> Upscaler:
    """The upscaler, whose model looks up in the budget what it has prepared for an output pixel size: all tiles of a
    scale, and beyond the largest trained scale of all scales, need the same.

    The model is shared with the one that is given; blocks of LR pixels are prepared as it does, so that the pictures
    are the same bit for bit.
    """
    model = copy.copy(upscaler.model)

    def kept(make: Callable[..., Field]) -> Callable[..., Field]:
        def field(latent: Latent, cell: Tensor, *part: PixelWindow) -> Field:
            if cell.dim() > 2:  # of a warp, for which no second one asks
                return make(latent, cell, *part)
            name = tuple(cell.flatten().tolist()), *part

            def prepared() -> Field:
                with processors.shared():
                    return make(latent, cell, *part)

            return budget.kept((*key, "field", *name), prepared, FIELD_SHARE)

        return field

    in_parts = (
        isinstance(model, LocalEnsembleModel) and type(model).field_of_part is not LocalEnsembleModel.field_of_part
    )
    name = "field_of_part" if in_parts else "field"
    model.__dict__[name] = kept(getattr(model, name))
    copied = copy.copy(upscaler)  # unlike `replace`, it neither checks nor moves anything again
    copied.__dict__["model"] = model
    return copied
