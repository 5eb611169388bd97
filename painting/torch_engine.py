"""Painting with PyTorch: every model, every option; of large pictures in strips, of crops only what they need."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
from torch import Tensor

from models.checkpoints.loading import load_upscaler, on_upsampler
from models.cmsr.report import control, level_map, map_legend
from models.cmsr.tables import ScaleTable, find_table
from models.upscaler import MARGIN, Ensemble, Upscaler
from painting.layers import alpha_upscaler, drawing, drawn_on, filled, paint, paint_part, pixels_for, whole_grid
from painting.plan import Painted, Plan, Window, full_size, window_of
from painting.request import Request
from painting.sheets import comparison_sheet
from pictures.picture import Picture
from pictures.tensors import Layers
from pictures.writing import BANDED
from utils import processes, progress
from utils.errors import InputError
from utils.geometry.grids import Grid, OutputGrid
from utils.geometry.neighbours import PixelWindow
from utils.geometry.sizes import Size, is_enlarged
from utils.system import amount, check_memory, keep_freed, select_device, usable_memory

REFERENCE_QUERIES = 30000
OUTPUT_PIXEL = 60  # bytes, about


class TorchEngine:
    """An upscaler, with CMSR's `table` where one is used.

    `is_fixed`: whether the upscaler's precision was asked for; else outputs of more than 8 bits a channel, whose levels
    bfloat16 cannot tell apart, are computed in float32.
    """

    def __init__(self, upscaler: Upscaler, table: ScaleTable | None = None, is_fixed: bool = True):
        self.upscaler, self.table, self.is_fixed = upscaler, table, is_fixed

    def note(self, depth: int) -> str:
        """The precision of outputs of so many bits a channel, as it is said behind the time."""
        return f" ({self._upscaler_for(depth).precision})" if self.upscaler.model.encodes else ""

    def _upscaler_for(self, depth: int) -> Upscaler:
        return self.upscaler.of_depth(depth, self.upscaler.precision if self.is_fixed else "float32")

    @classmethod
    def of(cls, request: Request, output: TextIO = sys.stdout) -> "TorchEngine":
        """The engine for a request; notices go to `output`."""
        if request.memory is None:  # else the next picture of a folder may have to be painted in strips
            keep_freed()
        device, notice = select_device(request.device, request.gpu)
        if notice and processes.is_first():
            print(notice, file=output)
        settings = {"backend": request.backend, "precision": request.precision}
        if request.upsampler:
            settings["precision"] = "float32"
            parts = (load_upscaler(name, device, **settings) for name in (request.model, request.upsampler))
            upscaler = on_upsampler(*parts, request.precision)
        else:
            upscaler = load_upscaler(request.model, device, **settings)
        upscaler.memory = request.memory
        if request.ensemble:
            upscaler = Ensemble.of(upscaler)
        table = None
        if request.cmsr:
            table = find_table(upscaler, request.model, request.cmsr_path, request.cmsr_mse, request.force)
        return cls(upscaler, table, request.precision != "auto")

    def paint(self, plan: Plan) -> Painted:
        """The plan's window, whole."""
        request, picture = plan.request, plan.picture
        beside, lines, covered = {}, [], None
        grid, cropped = whole_grid(request, picture.size).window(*plan.window), self._cropped(request, picture.size)
        if cropped and not continues_colours(picture):
            layers = paint_part(self._upscaler_for(plan.pixel_format.depth), picture, grid, cropped)
        elif self.table:
            layers = self._controlled(plan, Layers.of(picture), beside, lines)
        else:
            whole = Layers.of(picture)
            layers, covered = drawn_on(grid, lambda grid: self._drawn(plan, whole, grid))
        if covered is not None and request.mask:
            beside[Path(request.mask)] = (covered * 255).round().byte().numpy()
        if covered is not None and covered.min() < 1:
            lines.append(f"{covered.double().mean():.1%} of the output lies inside the picture")
        layers, pixel_format = filled(plan, layers, covered)
        if request.compare:
            lr, name = Layers.of(plan.picture).rgb(), Path(str(request.model)).stem
            sheet = comparison_sheet(lr, layers.rgb(), name, request.compare_at or ())
            beside[plan.job.compared] = sheet
        pixels = layers.pixels(pixel_format.depth, pixel_format.channels)
        return plan.painted(pixels, pixel_format, beside=beside, lines=lines)

    def strips(self, plan: Plan) -> Iterator[np.ndarray] | None:
        """Where memory is short, the window in strips of rows (.., W, C), each to be written at once; None where it is
        painted whole. InputError where memory does not suffice either way."""
        request, job, picture = plan.request, plan.job, plan.picture
        needed, usable = plan.needed(self.encoded_size(plan)), usable_memory(request.memory)
        if usable is None or needed <= usable:
            return None
        whole = request.is_warp or request.cmsr or request.compare or not request.fast or job.streams
        if whole or job.form.name not in BANDED or not can_strip(self.upscaler, picture, plan.size):
            check_memory(needed, plan.work, request.memory)
            return None
        try:
            block = block_size(self.upscaler, picture.size, plan.window[2], plan.size, usable)
        except InputError as error:
            raise InputError(f"{job.source}: {error}") from None
        made = plan.pixel_format
        return (
            filled(plan, layers)[0].pixels(made.depth, made.channels)
            for layers in strips(self._upscaler_for(made.depth), picture, plan.size, plan.window, block)
        )

    def rows(self, request: Request, size: Size) -> slice | None:
        """The rows of an (h, w) picture that the crop which is asked for is made of; None for all."""
        cropped = self._cropped(request, size)
        return cropped and cropped.rows

    def _cropped(self, request: Request, size: Size) -> PixelWindow | None:
        if not request.crop or request.is_warp or request.cmsr or request.compare or not request.fast:
            return None
        return self._pixels(whole_grid(request, size).window(*window_of(request, full_size(request, size))), size)

    def encoded_size(self, plan: Plan) -> Size:
        """(h, w) of what is encoded of the picture."""
        request, size = plan.request, plan.picture.size
        if request.is_warp or self.table or not request.fast:
            return size
        pixels = self._pixels(whole_grid(request, size).window(*plan.window), size)
        return (pixels.height, pixels.width) if pixels else size

    def _drawn(self, plan: Plan, layers: Layers, grid: OutputGrid) -> Layers:
        fast = plan.request.fast
        queries = None if fast else REFERENCE_QUERIES
        draw = drawing(grid, queries, self._pixels(grid, plan.picture.size) if fast else None)
        upscaler = self._upscaler_for(plan.pixel_format.depth)
        return paint(upscaler, layers, draw, drawing(grid, queries) if plan.request.is_warp else None)

    def _pixels(self, grid: OutputGrid, size: Size) -> PixelWindow | None:
        """As `pixels_for`, None also where all of the picture is needed."""
        pixels = pixels_for(self.upscaler, grid, size)
        return None if pixels == PixelWindow.whole(size) else pixels

    def _controlled(self, plan: Plan, layers: Layers, beside: dict[Path, np.ndarray], lines: list[str]) -> Layers:
        """The window of the picture drawn by CMSR, whole."""
        request, table, size = plan.request, self.table, plan.size

        def draw(upscaler: Upscaler, lr: Tensor) -> Tensor:
            report = control(upscaler, lr, size, table, request.cmsr_from, compare=request.cmsr_report)
            lines.extend(line for line in (table.notice(report.scale), str(report)) if line)
            if request.cmsr_map:
                beside[Path(request.cmsr_map)] = level_map(report.controlled, size)
                lines.append(f"{request.cmsr_map}: {map_legend(report.controlled)}")
            return report.picture

        return paint(self.upscaler, layers, draw, drawing(Grid.of_size(size))).window(*plan.window)


def can_strip(upscaler: Upscaler, picture: Picture, size: Size) -> bool:
    """Whether the picture at `size` can be painted in strips: by models that say how far they look, when it is
    enlarged."""
    return is_enlarged(picture.size, size) and upscaler.context is not None and not continues_colours(picture)


def continues_colours(picture: Picture) -> bool:
    """Whether pixels are all transparent, below which colours continue from all over the picture."""
    return picture.pixel_format.has_alpha and not picture.pixels[:, :, -1].all()


def block_size(upscaler: Upscaler, input_size: Size, window: Size, size: Size, memory: int) -> Size:
    """(rows, columns) of output pixels to paint at a time, of a window (H, W) of an output of `size`, so that they and
    the rows of all columns need at most so many bytes: of those that fit, what encodes fewest LR pixels. InputError
    when nothing fits."""
    with upscaler.computing():
        per_input = upscaler.model.pixel_bytes
    around = 2 * (upscaler.context + MARGIN) + 1
    lr_per_row, lr_per_column = (n / m for n, m in zip(input_size, size, strict=True))
    needed, blocks = [], []
    for count in range(1, max(1, int(window[1] * lr_per_column / around)) + 1):
        columns = math.ceil(window[1] / count)
        lr_columns = min(columns * lr_per_column + around, input_size[1])
        fixed = around * lr_columns * per_input
        per_row = lr_per_row * lr_columns * per_input + window[1] * OUTPUT_PIXEL
        needed.append(fixed + per_row)
        rows = min(int((memory - fixed) / per_row), window[0])
        if rows >= 1:
            encoded = (lr_per_row + around / rows) * lr_columns * count  # LR pixels for each row of the output
            blocks.append((encoded, (rows, columns)))
    if not blocks:
        raise InputError(
            f"a strip of an output of {window[1]}x{window[0]} needs about {amount(min(needed))} of memory, "
            f"{amount(memory)} may be used; give more by --memory, or ask for a smaller size"
        )
    return min(blocks)[1]


def strips(upscaler: Upscaler, picture: Picture, size: Size, window: Window, block: Size) -> Iterator[Layers]:
    """The `window` (top, left, its size) of the picture at `size` in strips of the rows of a `block`, each painted in
    such blocks: what `painting.layers.paint` draws on the whole grid."""
    around = upscaler.context + MARGIN
    if picture.pixel_format.has_alpha:
        around = max(around, alpha_upscaler(upscaler).context + MARGIN)
    whole, (height, width), (rows, columns) = Grid.of_size(size).window(*window), window[2], block

    def painted(grid: Grid) -> Layers:
        pixels = PixelWindow.around(picture.size, grid.pixels(picture.size), around)
        return paint_part(upscaler, picture, grid, pixels)

    for start in range(0, height, rows):
        strip = whole.window(start, 0, (min(rows, height - start), width))
        lefts = range(0, width, columns)
        # Without a name for the blocks, which would keep them while the strip is written
        yield Layers.joined(
            [painted(strip.window(0, left, (strip.size[0], min(columns, width - left)))) for left in lefts], dim=2
        )
        progress.advance(strip.size[0])
