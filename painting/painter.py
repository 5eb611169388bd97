"""From pictures of any kind to pictures of that kind, larger or warped, with the options of demo.py."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.checkpoints.loading import load_upscaler, on_upsampler
from models.cmsr.report import control, level_map, map_legend
from models.cmsr.tables import find_table
from models.ensemble import Ensemble
from models.upscaler import Upscaler
from painting.crops import pixels_for
from painting.layers import Draw, drawing, paint, with_outside
from painting.outputs import Order, PicturePainter, Window, lines_of_lost
from painting.sheets import comparison_sheet
from painting.strips import block_size, can_strip, strips
from painting.warp_options import COMPARED, is_transparent_warp, is_warp
from pictures.colour import parse_colour
from pictures.metadata import Metadata
from pictures.picture import PixelFormat
from pictures.tensors import Layers, colour_of
from pictures.writing import BANDED, BandedPicture
from utils import progress
from utils.errors import InputError
from utils.geometry.grids import Grid, OutputGrid, Size
from utils.geometry.homographies import Homography, read_homography
from utils.geometry.neighbours import PixelWindow
from utils.system import keep_freed, usable_memory

REFERENCE_QUERIES = 30000


class Painter(PicturePainter):
    """A loaded model with the options of the command line."""

    def __init__(self, device: torch.device, arguments: Any):
        super().__init__(arguments)

        def load(name: str | Path, precision: str = "float32") -> Upscaler:
            return load_upscaler(name, device, backend=arguments.backend, precision=precision)

        if arguments.upsampler:
            self.upscaler = on_upsampler(load(arguments.model), load(arguments.upsampler), arguments.precision)
        else:
            self.upscaler = load(arguments.model, arguments.precision)
        if self.upscaler.model.encodes:
            self.note = f" ({self.upscaler.precision})"
        if arguments.ensemble:
            self.upscaler = Ensemble.of(self.upscaler)
        self.homography = None if arguments.homography is None else read_homography(arguments.homography)
        self.table = None
        if arguments.cmsr:
            path, mse, force = arguments.cmsr_path, arguments.cmsr_mse, arguments.force
            self.table = find_table(self.upscaler, arguments.model, path, mse, force)

    def _painted(self, order: Order) -> tuple[np.ndarray, PixelFormat, float]:
        arguments, job, kind = self.arguments, order.job, order.kind
        if arguments.memory is None:  # else the next picture of a folder may have to be painted in strips
            keep_freed()
        started = time.perf_counter()
        layers = self._draw(Layers.of(order.picture), order)
        seconds = time.perf_counter() - started
        if layers.alpha is not None and not kind.has_alpha:
            if is_transparent_warp(arguments):
                kind, _ = job.form.pixel_format_for(PixelFormat(f"{kind.colours}A", kind.depth))
            else:
                layers = layers.over(parse_colour(arguments.background or "white"))
        if arguments.compare:
            lr, name = Layers.of(order.picture).rgb(), Path(arguments.model).stem
            order.beside[job.beside(COMPARED)] = comparison_sheet(lr, layers.rgb(), name, arguments.compare_at or ())
        return layers.pixels(kind.depth, kind.channels), kind, seconds

    def _is_for_strips(self, order: Order, needed: int) -> bool:
        job, arguments, usable = order.job, self.arguments, usable_memory(self.arguments.memory)
        if usable is None or needed <= usable or job.streams or job.form.name not in BANDED:
            return False
        whole = is_warp(arguments) or arguments.cmsr or arguments.compare or not arguments.fast
        return not whole and can_strip(self.upscaler, order.picture, order.size)

    def _write_in_strips(self, order: Order, metadata: Metadata) -> list[str]:
        job, picture, kind, size, window = order.job, order.picture, order.kind, order.size, order.window
        try:
            block = block_size(self.upscaler, picture.size, window[2], size, usable_memory(self.arguments.memory))
        except InputError as error:
            raise InputError(f"{job.source}: {error}") from None
        background = parse_colour(self.arguments.background or "white")
        painted = (
            (layers if kind.has_alpha else layers.over(background)).pixels(kind.depth, kind.channels)
            for layers in strips(self.upscaler, picture, size, window, block)
        )
        banded = BandedPicture(window[2], kind, painted, metadata, picture.span)
        with progress.stage("painting", window[2][0]):
            return lines_of_lost(job, job.write(banded, self.arguments.compression))

    def _draw(self, layers: Layers, order: Order) -> Layers:
        """The window of the picture, of these `layers`."""
        arguments, given_size, size, window = self.arguments, order.picture.size, order.size, order.window
        queries = None if arguments.fast else REFERENCE_QUERIES
        if not is_warp(arguments):
            grid = Grid.of_size(size)
            if not self.table:
                part = grid.window(*window)
                return paint(self.upscaler, layers, drawing(part, queries, self._pixels(part, given_size)))
            draw = self._controlled(order)
            return paint(self.upscaler, layers, draw, drawing(grid, queries)).window(*window)
        turn = self.homography or Homography.rotation(arguments.rotate, given_size, size, arguments.scale or (1, 1))
        grid = turn.grid(given_size, size).window(*window)
        draw, draw_alpha = drawing(grid, queries, self._pixels(grid, given_size)), drawing(grid, queries)
        painted, inside = paint(self.upscaler, layers, draw, draw_alpha), grid.inside()
        if arguments.mask:
            order.beside[Path(arguments.mask)] = np.where(inside.numpy(), 255, 0).astype(np.uint8)
        if not inside.all():
            order.lines.append(f"{inside.float().mean():.1%} of the output lies inside the picture")
        colour = None if is_transparent_warp(arguments) else parse_colour(arguments.background)
        return with_outside(painted, inside, None if colour is None else colour_of(colour, painted.colour))

    def _pixels(self, grid: OutputGrid, input_size: Size) -> PixelWindow | None:
        """Which LR pixels to encode for a grid; None: all."""
        return pixels_for(self.upscaler, grid, input_size) if self.arguments.fast else None

    def _encoded_size(self, input_size: Size, size: Size, window: Window) -> Size:
        if is_warp(self.arguments) or self.table:
            return input_size
        pixels = self._pixels(Grid.of_size(size).window(*window), input_size)
        return (pixels.height, pixels.width) if pixels else input_size

    def _controlled(self, order: Order) -> Draw:
        """Draws by CMSR."""
        arguments, table, size = self.arguments, self.table, order.size

        def draw(upscaler: Upscaler, lr: Tensor) -> Tensor:
            report = control(upscaler, lr, size, table, arguments.cmsr_from, compare=arguments.cmsr_report)
            order.lines.extend(line for line in (table.notice(report.scale), str(report)) if line)
            if arguments.cmsr_map:
                order.beside[Path(arguments.cmsr_map)] = level_map(report.controlled, size)
                order.lines.append(f"{arguments.cmsr_map}: {map_legend(report.controlled)}")
            return report.picture

        return draw
