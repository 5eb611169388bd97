"""From pictures of any kind to pictures of that kind, larger or warped, with the options of demo.py."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import models
from evaluation.cmsr_report import control, level_map, map_legend
from evaluation.sheets import comparison_sheet
from evaluation.strips import can_strip, strip_rows, strips
from evaluation.warp_options import COMPARED, is_transparent_warp, is_warp
from models.checkpoints.loading import load_upscaler, on_upsampler
from models.cmsr.tables import find_table
from models.painting import Draw, drawing, needed_memory, paint, with_outside
from models.upscaler import Upscaler
from utils.errors import InputError
from utils.files import from_anywhere
from utils.geometry.grids import Grid, Size
from utils.geometry.homographies import Homography, rotated_size
from utils.geometry.scales import check_output_size, check_window
from utils.geometry.targets import stretch_notice
from utils.homography_files import read_homography
from utils.memory import check_memory, memory_errors, usable_memory
from utils.pictures.batches import Job
from utils.pictures.colour import in_rgb, parse_colour
from utils.pictures.formats import kept_metadata
from utils.pictures.metadata import Metadata
from utils.pictures.options import upright_size
from utils.pictures.picture import Kind, Picture
from utils.pictures.tensors import Layers, colour_of
from utils.pictures.writing import BANDED, BandedPicture, write_picture

REFERENCE_QUERIES = 30000


@dataclass(frozen=True)
class Painted:
    """What is made of one picture: itself, unless it is written already, other pictures by the file that they are for,
    the `compression` of PNG, and lines to say."""

    picture: Picture | None
    beside: dict[Path, np.ndarray]
    lines: Sequence[str]
    compression: int | None = None


def lines_of_lost(job: Job, lost: Sequence[str]) -> list[str]:
    """What to say of the metadata that could not be written."""
    return [f"{job.target}: written without {', '.join(lost)}"] if lost else []


class Painter:
    """A loaded model with the options of the command line."""

    def __init__(self, device: torch.device, arguments: Any):
        self.arguments = arguments

        def load(name: str | Path, precision: str = "float32") -> Upscaler:
            path = name if str(name) in models.names("resampling") else from_anywhere(name)
            return load_upscaler(path, device, backend=arguments.backend, precision=precision)

        if arguments.upsampler:
            self.upscaler = on_upsampler(load(arguments.model), load(arguments.upsampler), arguments.precision)
        else:
            self.upscaler = load(arguments.model, arguments.precision)
        self.homography = None if arguments.homography is None else read_homography(arguments.homography)
        self.table = None
        if arguments.cmsr:
            path, mse, force = arguments.cmsr_path, arguments.cmsr_mse, arguments.force
            self.table = find_table(self.upscaler, arguments.model, path, mse, force)

    def paint(self, job: Job, picture: Picture) -> Painted:
        """Upscale or warp a picture, and keep what the format of the job can hold; InputError where it cannot be
        written."""
        arguments, given_size = self.arguments, picture.size
        size = self._size(given_size)
        window = self._window(size)
        work = f"{job.source}: an output of {window[2][1]}x{window[2][0]}"
        kind, metadata, losses = self._kept(job, picture)
        for x, y, width, height in arguments.compare_at or ():
            if x + width > size[1] or y + height > size[0]:
                raise InputError(f"--compare-at {x},{y},{width},{height} is not within the output, {size[1]}x{size[0]}")
        job.form.check_size(job.target, window[2], kind)
        needed = needed_memory(given_size, size if arguments.cmsr else window[2], kind)
        in_strips = self._is_for_strips(job, picture, size, needed)
        if not in_strips:
            check_memory(needed, work, arguments.memory)
        if picture.channels == "CMYK" and kind.colours == "RGB":
            picture = in_rgb(picture)
        lines = [f"{job.source}: {', '.join(losses)}"] if losses else []
        beside: dict[Path, np.ndarray] = {}
        started = time.perf_counter()
        with memory_errors(work):
            if in_strips:
                painted = None
                lines += self._write_in_strips(job, picture, size, window, kind, metadata)
                seconds = time.perf_counter() - started
            else:
                layers = self._draw(Layers.of(picture), size, window, beside, lines)
                seconds = time.perf_counter() - started
                if layers.alpha is not None and not kind.has_alpha:
                    if is_transparent_warp(arguments):
                        kind, _ = job.form.kind_for(Kind(f"{kind.colours}A", kind.depth))
                    else:
                        layers = layers.over(parse_colour(arguments.background or "white"))
                painted = Picture(layers.pixels(kind.depth, kind.channels), kind.channels, metadata, picture.span)
                if arguments.compare:
                    lr, name = Layers.of(picture).rgb(), Path(arguments.model).stem
                    beside[job.beside(COMPARED)] = comparison_sheet(lr, layers.rgb(), name, arguments.compare_at or ())
        if arguments.size and not is_warp(arguments) and (stretched := stretch_notice(given_size, size)):
            lines.append(f"{job.source}: {stretched}")
        height, width = window[2]
        done = f"{job.source.name}: {given_size[1]}x{given_size[0]} -> {width}x{height} in {seconds:.2f} s"
        if self.upscaler.model.encodes:
            done += f" ({self.upscaler.precision})"
        return Painted(painted, beside, [*lines, done], arguments.compression)

    @staticmethod
    def write(job: Job, painted: Painted) -> str:
        """Write all that was made of a picture; lines that say what was done."""
        lost = [] if painted.picture is None else job.write(painted.picture, painted.compression)
        for path, content in painted.beside.items():
            write_picture(path, content)
        *lines, done = painted.lines
        lines += lines_of_lost(job, lost)
        return "\n".join([*lines, f"{done}, wrote {' and '.join(map(str, [job.target, *painted.beside]))}"])

    def _is_for_strips(self, job: Job, picture: Picture, size: Size, needed: int) -> bool:
        """Whether to paint in strips and to write each at once: where the whole needs more memory than there is, and
        the options, the format and the model allow it."""
        arguments, usable = self.arguments, usable_memory(self.arguments.memory)
        if usable is None or needed <= usable or job.streams or job.form.name not in BANDED:
            return False
        whole = is_warp(arguments) or arguments.cmsr or arguments.compare or not arguments.fast
        return not whole and can_strip(self.upscaler, picture, size)

    def _write_in_strips(
        self,
        job: Job,
        picture: Picture,
        size: Size,
        window: tuple[int, int, Size],
        kind: Kind,
        metadata: Metadata,
    ) -> list[str]:
        """Paint and write the `window` of the picture at `size` as `kind`; lines to say."""
        rows = strip_rows(self.upscaler, picture.size, window[2], size, usable_memory(self.arguments.memory))
        painted = (
            layers.pixels(kind.depth, kind.channels) for layers in strips(self.upscaler, picture, size, window, rows)
        )
        banded = BandedPicture(window[2], kind, painted, metadata, picture.span)
        return lines_of_lost(job, job.write(banded, self.arguments.compression))

    def _size(self, size: Size) -> Size:
        """(H, W) that the options ask for."""
        if not is_warp(self.arguments):
            return upright_size(size, self.arguments)
        if self.arguments.size:
            return check_output_size(self.arguments.size)
        if self.homography:
            return size
        return rotated_size(size, self.arguments.rotate, self.arguments.scale or (1, 1))

    def _kept(self, job: Job, picture: Picture) -> tuple[Kind, Metadata, list[str]]:
        """The kind that the picture is written as, its metadata then, and what of it is lost, in words."""
        arguments = self.arguments
        wanted = replace(picture.kind, depth=arguments.depth or picture.kind.depth)
        kind, losses = job.form.kind_for(wanted)
        if is_transparent_warp(arguments) and not kind.has_alpha:
            if kind.channels == "CMYK":
                raise InputError(f"{job.source}: CMYK has no transparency; give --background white, or write a .png")
            losses += job.form.kind_for(Kind(f"{kind.colours}A", kind.depth))[1]
        if picture.span != (0, 1) and kind.depth < 32:
            low, high = picture.span
            raise InputError(f"{job.source} holds floats from {low:g} to {high:g}; write a .tif, or scale them to 0..1")
        metadata, lost = kept_metadata(picture, job.form, kind)
        if arguments.strip_metadata:
            metadata, lost = Metadata(), []
        losses = [*picture.losses, *losses, *(f"without {name}" for name in lost)]
        if losses and arguments.strict:
            raise InputError(f"{job.source}: {', '.join(losses)}; remove --strict or choose another format")
        size = self._size(picture.size)
        scale = tuple(side / n for side, n in zip(size, picture.size, strict=True))
        if is_warp(arguments):
            scale = arguments.scale or (1.0, 1.0)
        return kind, metadata.of_size(self._window(size)[2], scale), losses

    def _window(self, size: Size) -> tuple[int, int, Size]:
        """The part of an output of `size` that is written, for `--fill` and `--crop`: top, left, its size."""
        if self.arguments.fill:
            top, left = ((n - side) // 2 for n, side in zip(size, self.arguments.fill, strict=True))
            return top, left, self.arguments.fill
        if self.arguments.crop:
            left, top, width, height = self.arguments.crop
            check_window(size, top, left, (height, width))
            return top, left, (height, width)
        return 0, 0, size

    def _draw(
        self,
        layers: Layers,
        size: Size,
        window: tuple[int, int, Size],
        beside: dict[Path, np.ndarray],
        lines: list[str],
    ) -> Layers:
        """The `window` of the picture at `size`; adds to the pictures `beside` it and to the `lines` to say."""
        arguments = self.arguments
        queries = None if arguments.fast else REFERENCE_QUERIES
        if not is_warp(arguments):
            grid = Grid.of_size(size)
            if not self.table:
                return paint(self.upscaler, layers, drawing(grid.window(*window), queries))
            draw = self._controlled(size, beside, lines)
            return paint(self.upscaler, layers, draw, drawing(grid, queries)).window(*window)
        given_size = tuple(layers.colour.shape[1:])
        turn = self.homography or Homography.rotation(arguments.rotate, given_size, size, arguments.scale or (1, 1))
        grid = turn.grid(given_size, size).window(*window)
        painted, inside = paint(self.upscaler, layers, drawing(grid, queries)), grid.inside()
        if arguments.mask:
            beside[Path(arguments.mask)] = np.where(inside.numpy(), 255, 0).astype(np.uint8)
        if not inside.all():
            lines.append(f"{inside.float().mean():.1%} of the output lies inside the picture")
        colour = None if is_transparent_warp(arguments) else parse_colour(arguments.background)
        return with_outside(painted, inside, None if colour is None else colour_of(colour, painted.colour))

    def _controlled(self, size: Size, beside: dict[Path, np.ndarray], lines: list[str]) -> Draw:
        """Draws by CMSR."""
        arguments, table = self.arguments, self.table

        def draw(upscaler: Upscaler, lr: Tensor) -> Tensor:
            report = control(upscaler, lr, size, table, arguments.cmsr_from, compare=arguments.cmsr_report)
            lines.extend(line for line in (table.notice(report.scale), str(report)) if line)
            if arguments.cmsr_map:
                beside[Path(arguments.cmsr_map)] = level_map(report.controlled, size)
                lines.append(f"{arguments.cmsr_map}: {map_legend(report.controlled)}")
            return report.picture

        return draw
