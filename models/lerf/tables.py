"""LeRF as look-up tables (LUTs): networks sampled every 16 grey levels, read by 4-simplex interpolation."""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from models.computing import chunk_bytes, is_exporting
from models.continuous import Latent
from models.lerf import INTERVAL, PATTERNS, ROTATIONS, SAMPLES, layout
from models.lerf.networks import LeRFNetwork
from models.lerf.stages import EnsembleLeRF, Modes, Support, round_through, turned
from models.native import backends
from models.native.calls import Library
from models.native.lerf import add_rests, lay_out, table_stage, to_levels, write_values
from models.registry import register

STEPS = tuple(SAMPLES**axis for axis in (3, 2, 1, 0))  # index steps along each of the four pixels
ENTRIES = SAMPLES**4
COLUMN_BYTES = 160  # that `interpolate` takes for one point, about


def sampled_levels() -> Tensor:
    """(17,) grey levels 0, 16, ..., 240, 255 at which LUTs are sampled."""
    return (torch.arange(SAMPLES) * INTERVAL).clamp(max=255)


def interpolate(lut: Tensor, pixels: Tensor) -> Tensor:
    """Simplex interpolation of a LUT (83521, K) at the integer grey levels 0..255 of four pixels (4, N): (K, N).

    The simplex of a point has five vertices: the lower end of its 16-level cell, then one more axis at a time in
    descending order of the fractions. The weights are the differences of consecutive fractions, so with integers in the
    LUT results are exact multiples of 1/16. Where a pixel is NaN, so is the result.
    """
    low = (pixels / INTERVAL).floor()
    fraction, order = (pixels - low * INTERVAL).sort(dim=0, descending=True)  # (4, N)
    steps = torch.tensor(STEPS, device=pixels.device)
    start = (low.nan_to_num().long() * steps[:, None]).sum(0)
    vertices = torch.cat([start[None], start + steps[order].cumsum(0)])  # (5, N)
    edges = torch.cat([torch.full_like(fraction[:1], INTERVAL), fraction, torch.zeros_like(fraction[:1])])
    weights = (edges[:-1] - edges[1:]) / INTERVAL  # (5, N)
    if is_exporting():  # ONNX has no sum of looked up rows
        rows = lut.index_select(0, vertices.flatten()).unflatten(0, vertices.shape)  # (5, N, K)
        return (rows * weights[..., None]).sum(0).T
    return nn.functional.embedding_bag(vertices.T, lut, per_sample_weights=weights.T, mode="sum").T


@register("lerf-lut")
class LookUpLeRF(EnsembleLeRF):
    """LeRF-L (`kernel` linear) or LeRF-G (gauss) with a LUT as each unit, a parameter (83521, K) of the unit's name.

    LUTs hold integers from -127 to 127. Training rounds them in the forward pass, so it tunes the stored 8-bit values.
    """

    def __init__(self, kernel: str = "gauss", modes: Modes = "sct", support: Support = 2, antialias: bool = True):
        super().__init__(kernel, modes, support, antialias)
        for name, _, _, values in self.units():
            setattr(self, name, nn.Parameter(torch.zeros(ENTRIES, values)))
        self._laid_out: dict[int, tuple[Any, ...]] = {}  # of a stage: states, LUTs and entries

    def layout(self) -> dict[str, Any]:
        """`models.lerf.layout` of these LUTs."""
        return layout(self.modes, self.arguments()["kernel"])

    def respond(self, unit: str, pixels: Tensor) -> Tensor:
        lut = round_through(getattr(self, unit).clamp(-127, 127))
        if is_exporting():  # graphs have no loops
            return interpolate(lut, pixels)
        # A part's intermediates fit the cache: a quarter of the time and of the memory of all points at once.
        columns = chunk_bytes(pixels.device) // COLUMN_BYTES
        return torch.cat([interpolate(lut, part) for part in pixels.split(columns, dim=1)], dim=1)

    def _library(self, *images: Tensor) -> Library | None:
        """The native routines, which read patterns that their last pixel sees in reverse order; None for PyTorch."""
        ends = ((PATTERNS[mode], PATTERNS[mode][::-1], PATTERNS[mode][3]) for mode in self.modes)
        symmetric = all((y + v, x + u) == end for p, q, end in ends for (y, x), (v, u) in zip(p, q, strict=True))
        return backends.choose("lerf", *images, *self.parameters()) if symmetric else None

    @property
    def pixel_bytes(self) -> int:
        return super().pixel_bytes if self._library() is None else 150

    def encode(self, image: Tensor) -> Latent:
        if not torch.is_grad_enabled() and backends.fuses(image, *self.parameters()):
            return Latent(self._fused_stages(image), image)
        library = self._library(image)
        if library is None:
            return super().encode(image)
        batch, channels, height, width = image.shape
        features = image.new_empty(batch, 1 + len(self.kernel.hyper_parameters), channels, height, width)
        for picture, values in zip(image.contiguous(), features, strict=True):
            levels, nan = to_levels(library, picture)
            if nan:  # grey levels of 8 bits cannot say so
                return super().encode(image)
            feature = self.look_up(library, 1, levels)
            write_values(library, feature, values[:1])
            add_rests(library, picture, values[0])
            write_values(library, self.look_up(library, 2, feature[0]), values[1:])
        return Latent(features.flatten(1, 2), image)

    def _units(self, stage: int, turns: int) -> tuple[list[str], list[int], list[list[tuple[int, int]]]]:
        """Names of a stage's units; of every pattern in `turns` directions the number of its unit and its offsets."""
        names = [name for name, of, *_ in self.units() if of == stage]
        terms = list(itertools.product(self.modes, range(turns)))
        numbers = [names.index(f"s{stage}_{mode}r{turn % stage}") for mode, turn in terms]
        return names, numbers, [[turned(offset, turn) for offset in PATTERNS[mode]] for mode, turn in terms]

    def _fused_stages(self, image: Tensor) -> Tensor:
        """Both stages in a launch each."""
        from models.native.triton_lerf import look_up_stages  # imports Triton, where it is needed

        stages = []
        for stage in (1, 2):
            names, numbers, offsets = self._units(stage, ROTATIONS)
            terms = [[number, *itertools.chain(*each)] for number, each in zip(numbers, offsets, strict=True)]
            divisor = len(self.modes) * (1 if stage == 1 else ROTATIONS)
            stages.append((torch.stack([getattr(self, name) for name in names]), terms, divisor))
        return look_up_stages(image, stages)

    def look_up(self, library: Library, stage: int, levels: Tensor) -> Tensor:
        """A stage by the native routine: (N, h, w) uint8 -> (K, N, h, w) uint8."""
        names, _, offsets = self._units(stage, ROTATIONS // 2)  # each also stands for itself turned by 180 degrees
        entries = self.laid_out(library, stage, [getattr(self, name) for name in names])
        terms = len(self.modes) * (1 if stage == 1 else ROTATIONS)
        return table_stage(library, levels, entries, offsets, INTERVAL * terms, 0 if stage == 1 else 127)

    def laid_out(self, library: Library, stage: int, tables: list[nn.Parameter]) -> Tensor:
        """The LUTs of a stage as the native routine reads them, laid out anew where one has changed since the last
        call, or `train` or `eval` was called: PyTorch does not count what fused optimisers, `Parameter.data` and NumPy
        change in place."""
        states = [(table.data_ptr(), -1 if table.is_inference() else table._version) for table in tables]
        held = self._laid_out.get(stage)
        if held is None or held[0] != states or any(version < 0 for _, version in states):
            owners = [table.detach() for table in tables]  # no other tensor gets their place in memory
            held = self._laid_out[stage] = (states, owners, lay_out(library, owners))
        return held[2]

    def train(self, mode: bool = True) -> "LookUpLeRF":
        self._laid_out.clear()
        return super().train(mode)

    def tables(self) -> Iterator[tuple[str, Tensor]]:
        """Every unit's name and its LUT as stored, (83521, K) int8."""
        for name, *_ in self.units():
            yield name, getattr(self, name).detach().clamp(-127, 127).round().to(torch.int8)


@torch.no_grad()
def tabulated(network: LeRFNetwork) -> LookUpLeRF:
    """The LUTs of a network: each unit's outputs at all combinations of the sampled grey levels."""
    model = LookUpLeRF(**network.arguments())
    levels = sampled_levels().to(next(network.parameters()))
    pixels = torch.cartesian_prod(levels, levels, levels, levels).T  # (4, 83521)
    for name, *_ in model.units():
        getattr(model, name).copy_(network.respond(name, pixels).T)
    return model
