"""The models that the page offers, and pictures drawn by them: encoded once and kept, or where that takes too much
memory, encoded for each window."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from models.checkpoints.loading import load_upscaler
from models.continuous import Field, Latent
from models.resampling.filters import CatmullRom
from models.safeguards import LARGEST_PIXEL, TRANSITION, pixel_size
from models.upscaler import Upscaler
from models.zoo import ENDINGS, resolve, zoo
from painting.layers import continued, drawn_on, paint, with_outside
from pictures.tensors import Layers
from utils.errors import InputError
from utils.files import PROJECT
from utils.geometry.grids import Grid, OutputGrid, Size
from utils.geometry.neighbours import PixelWindow
from utils.registry import FILTERS
from web.budget import Budget, Key
from web.settings import Refused

OWN = "save"  # the folder of the user's checkpoints
MOST_LOADED = 4  # models of the user's that are held
FIELD_SHARE = 0.25  # of the budget, that one field may take
WORKING = 96  # floats per LR pixel that an encoder holds beside its features


class Offered:
    """Filters, shipped models and the checkpoints below `save`, by the names that demo.py takes for --model; loaded
    when they are first asked for."""

    def __init__(self, backend: str = "auto", project: Path = PROJECT):
        self._backend, self._project = backend, project
        self._loaded: dict[str, tuple[float, Upscaler]] = {}
        self._lock = Lock()

    def labels(self) -> dict[str, str]:
        """What each model is called in menus, by its name."""
        known = {name: name.capitalize() for name in FILTERS}
        known |= {name: entry.label for name, entry in zoo().items() if entry.file.is_file()}
        shipped = {entry.file for entry in zoo().values()}
        for path in sorted((self._project / OWN).rglob("*")):
            if path.suffix in ENDINGS and path.is_file() and path not in shipped:
                known[path.relative_to(self._project).as_posix()] = path.relative_to(self._project / OWN).as_posix()
        return known

    def check(self, name: str) -> None:
        """Refused (404) for a name that is not offered."""
        if not (name in FILTERS or name in zoo() or name in self._loaded or name in self.labels()):
            raise Refused(f"no model '{name[:60]}'; choose one of the list", 404)

    def upscaler(self, name: str) -> Upscaler:
        """The model of a name, read again when its file has changed; Refused (422) for a file that holds none."""
        self.check(name)
        own = name not in FILTERS and name not in zoo()
        try:
            changed = (self._project / name).stat().st_mtime if own else 0.0
            with self._lock:
                if self._loaded.get(name, (None,))[0] != changed:
                    upscaler = load_upscaler(
                        resolve(self._project / name if own else name), backend=self._backend, precision="auto"
                    )
                    others = [other for other in self._loaded if other not in FILTERS and other not in zoo()]
                    if own and len(others) >= MOST_LOADED:
                        del self._loaded[others[0]]
                    self._loaded[name] = changed, upscaler
                return self._loaded[name][1]
        except (InputError, OSError) as error:
            raise Refused(str(error), 422) from None


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

    def draw(self, upscaler: Upscaler, grid: OutputGrid) -> Layers:
        """The picture on a grid, transparent outside of a warp."""

        def on(part: OutputGrid) -> Layers:
            latents = iter(self.latents)
            return paint(upscaler, self.layers, lambda by, _: by.render(next(latents), part)[0])

        drawn, covered = drawn_on(grid, on)
        return drawn if covered is None else with_outside(drawn, covered, None)


def needed_to_encode(upscaler: Upscaler, size: Size) -> int:
    """Bytes that encoding an (h, w) picture takes, about."""
    features = getattr(getattr(upscaler.model, "encoder", None), "out_dim", 3)
    return size[0] * size[1] * 4 * (2 * features + (WORKING if upscaler.model.encodes else 9))


_REDUCING = Upscaler(CatmullRom().eval())


def drawing_upscaler(upscaler: Upscaler, grid: OutputGrid, size: Size) -> Upscaler:
    """What draws an (h, w) picture on a grid: the upscaler, or the filter that it leaves reducing to, for which nothing
    has to be encoded."""
    if upscaler.model.reduces:
        return upscaler
    if isinstance(grid, Grid):
        reduces = all(side <= n for side, n in zip(grid.full_size, size, strict=True))
    else:
        reduces = bool(pixel_size(grid, size).min() >= TRANSITION * LARGEST_PIXEL)
    return _REDUCING if reduces else upscaler


def with_kept_fields(upscaler: Upscaler, budget: Budget, key: Key, threads: int) -> Upscaler:
    """The upscaler, whose model looks up in the budget what it has prepared for an output pixel size: all tiles of a
    scale, and beyond the largest trained scale of all scales, need the same. The model shares its weights."""
    model = copy.copy(upscaler.model)
    name = "field_of_part" if hasattr(model, "field_of_part") else "field"
    make = getattr(model, name)

    def field(latent: Latent, cell: Tensor, *part: PixelWindow) -> Field:
        if cell.dim() > 2:  # of a warp, for which no second one asks
            return make(latent, cell, *part)

        def prepared() -> Field:
            before = torch.get_num_threads()
            torch.set_num_threads(threads)  # tiles, which have one each, wait for the field that they have in common
            try:
                return make(latent, cell, *part)
            finally:
                torch.set_num_threads(before)

        return budget.kept((*key, "field", *cell.flatten().tolist(), *part), prepared, FIELD_SHARE)

    model.__dict__[name] = field
    copied = copy.copy(upscaler)
    copied.model = model
    return copied
