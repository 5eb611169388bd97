"""The one interface of the project: a picture is encoded once and rendered on any grid of positions."""

from dataclasses import dataclass, field, fields, replace
from enum import Enum

import torch
from torch import Tensor, nn

from models.computing import chunk_bytes, in_memory_of
from models.encoders import encode_in_chunks
from utils import progress
from utils.errors import InputError
from utils.geometry.grids import Grid, OutputGrid, Size, sample_bilinear
from utils.geometry.neighbours import PixelWindow


class Tiling(Enum):
    """Whether a picture may be cut into overlapping tiles to save memory, named as in spandrel's descriptors."""

    SUPPORTED = "supported"  # tiles that overlap by more than the model's reach give the same picture
    INTERNAL = "internal"  # the model splits its work by itself: hand it the whole picture
    DISCOURAGED = "discouraged"  # a pixel may depend on the whole picture, which tiles would change


@dataclass(frozen=True)
class Latent:
    """An encoded picture: `features` (B, C, h, w) and the normalised `image` (B, 3, h, w), of the pixels in `window`
    (None: all)."""

    features: Tensor
    image: Tensor
    window: PixelWindow | None = field(default=None, kw_only=True)

    @property
    def size(self) -> Size:
        """(h, w) of the whole LR picture."""
        return self.pixels.size

    @property
    def pixels(self) -> PixelWindow:
        """Which LR pixels are here."""
        return self.window or PixelWindow.whole(tuple(self.image.shape[-2:]))

    def part(self, rows: slice, columns: slice) -> "Latent":
        """Some rows and columns of LR pixels; the image stays whole."""
        return replace(self, features=self.features[:, :, rows, columns])


@dataclass(frozen=True)
class Field:
    """A picture ready for one output pixel size: `table` (B, h, w, C) of what each LR pixel in `window` contributes,
    and `skip` (B, 3, h, w), a picture of the pixels in `skip_window` that is added bilinearly, or None. A window of
    None: all pixels."""

    table: Tensor
    skip: Tensor | None = None
    window: PixelWindow | None = None
    skip_window: PixelWindow | None = None

    @property
    def batch(self) -> int:
        return self.table.shape[0]

    @property
    def size(self) -> Size:
        """(h, w) of the LR picture."""
        return self.pixels.size

    @property
    def pixels(self) -> PixelWindow:
        """Which LR pixels the table holds."""
        return self.window or PixelWindow.whole(tuple(self.table.shape[1:3]))

    def picture(self, number: int) -> "Field":
        """The field of one picture of the batch."""
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        return replace(self, **{name: value[number : number + 1] for name, value in tensors.items()})

    def skip_at(self, coord: Tensor) -> Tensor | float:
        """The skip picture at positions (B, ..., 2): (B, ..., 3), or 0 without one."""
        return 0.0 if self.skip is None else sample_bilinear(self.skip, coord)


class ContinuousModel(nn.Module):
    """Base of every model: encode -> field -> sample or paint.

    Models keep no state between calls: the caller holds latents and fields, so one latent serves any number of sizes.
    Subclasses set `encoder` (or implement `encode`) and implement `field` and `sample`; they may override `paint` where
    a grid allows something faster.
    """

    encoder: nn.Module
    trained_scales: tuple[float, float] | None = (1.0, 4.0)  # cells are clipped at the second; None: any scale
    normalization: tuple[float, float] = (0.5, 0.5)  # (sub, div) of pictures in [0, 1], unless a checkpoint has its own
    floats_per_query: int = 64  # of the widest intermediate for one position: decides how many a chunk holds
    cell_on_cpu: bool = False  # `cell` is there whatever computes: `field` and `paint` decide by it
    reduces: bool = False  # averages over output pixels that are larger than LR pixels, or is meant not to
    averages: bool = False  # values are weighted means of pixels, channel by channel: no overshoot, grey stays grey
    warps_parts: bool = False  # a part of a picture may also be painted on warped grids
    whole_types: tuple[torch.dtype, ...] = ()  # beside float32, of `model.half()`; few, for positions are float32
    native_library: str | None = None  # name of the native routines, see `backends.choose`

    @property
    def encodes(self) -> bool:
        """Whether `encode` runs an encoder, which may compute in a reduced precision."""
        return hasattr(self, "encoder")

    @property
    def pixel_bytes(self) -> int:
        """How many bytes `encode` takes of an LR pixel, about."""
        return 1000

    def encode(self, image: Tensor) -> Latent:
        """(B, 3, h, w) normalised picture -> latent: everything that does not depend on the output."""
        return Latent(encode_in_chunks(self.encoder, image), image)

    @property
    def context(self) -> int | None:
        """How many LR pixels around one decide how it is encoded (see `Upscaler.encode_part`); None: all of them."""
        return None

    def cell(self, latent: Latent, grid: OutputGrid) -> Tensor:
        """Output pixel size on a grid, as `field` takes it, clipped at the largest trained scale."""
        cell = grid.cell(latent.size, self.trained_scales and self.trained_scales[1])
        return cell.to("cpu" if self.cell_on_cpu else latent.image.device).expand(len(latent.image), *cell.shape)

    def field(self, latent: Latent, cell: Tensor) -> Field:
        """Latent and output pixel size -> field: everything per LR pixel that depends on the output pixel size.

        `cell` is (B, 2), one (height, width) per picture in the unit of positions, or a map (B, 2, h, w).
        """
        raise NotImplementedError

    def sample(self, field: Field, coord: Tensor) -> Tensor:
        """Values (B, Q, 3), normalised, at any positions (B, Q, 2), (y, x) in [-1, 1]."""
        raise NotImplementedError

    def paint(self, field: Field, grid: OutputGrid, output: Tensor) -> None:
        """Write the values, normalised, at all positions of a grid inside the picture into `output` (B, 3, H, W), whose
        other pixels stay; beyond it memory is bounded by a chunk of positions."""
        paint_positions(self, field, grid, output, self._chunk_queries(field))

    def render(self, latent: Latent, grid: OutputGrid, outside: Tensor | float = 0.0) -> Tensor:
        """Values (B, 3, H, W), normalised, on a whole grid, plain or warped; `outside`, a number or (3, 1, 1), where
        it leaves the picture. Models that resample pictures of any number of channels give as many."""
        output = latent.image.new_empty(*latent.image.shape[:2], *grid.size)
        if not isinstance(grid, Grid):
            output[:] = outside
        with progress.stage("painting", grid.size[0] * grid.size[1]):
            in_memory_of(output.device, lambda: self._paint_latent(latent, grid, output))
        return output

    def _paint_latent(self, latent: Latent, grid: OutputGrid, output: Tensor) -> None:
        """`paint` the latent's `field`: models may do without holding all of it."""
        self.paint(self.field(latent, self.cell(latent, grid)), grid, output)

    def forward(self, image: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """(B, 3, h, w) pictures, (B, Q, 2) positions, (B, 2) output pixel sizes -> (B, Q, 3), all normalised."""
        return self.sample(self.field(self.encode(image), cell), coord)

    @property
    def tiling(self) -> Tiling:
        """Whether pictures may be cut into tiles. Encoders that say how far they `reach` are run in row chunks."""
        return Tiling.DISCOURAGED if getattr(self.encoder, "reach", None) is None else Tiling.INTERNAL

    def network_runs(self, pixels: int, queries: int) -> list[tuple[nn.Module | int, int]]:
        """The networks behind the encoder and how often each runs for that many LR pixels and positions, as the papers
        count; a number in a network's place is multiply-adds (see `tools.bench.costs`). Empty: there are none."""
        raise InputError(f"{type(self).__name__} has no cost formula; implement network_runs, as LIIF does")

    def _chunk_queries(self, field: Field) -> int:
        """Positions per picture that one chunk should hold."""
        floats = self.floats_per_query * field.batch
        return max(1, chunk_bytes(field.table.device) // (field.table.element_size() * floats))


def paint_positions(model: ContinuousModel, field: Field, grid: OutputGrid, output: Tensor, queries: int) -> None:
    """Write the values at the positions of a grid into `output` (B, 3, H, W), sampled in passes of `queries`."""
    for place, coord, inside in grid.chunks(queries, output.device):
        coord = coord.to(torch.promote_types(coord.dtype, output.dtype))
        values = model.sample(field, coord.flatten(0, -2).expand(field.batch, -1, -1))  # (B, Q, C)
        values = values.transpose(1, 2).unflatten(2, coord.shape[:-1])
        output[place] = values if inside is None else torch.where(inside, values, output[place])
        progress.advance(coord[..., 0].numel())
