"""Painting with PyTorch: every model, every option."""

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
from torch import Tensor

from models.checkpoints.loading import load_upscaler, on_upsampler
from models.cmsr.report import control, level_map, map_legend
from models.cmsr.tables import ScaleTable, find_table
from models.upscaler import Ensemble, Upscaler
from painting import plan as plans
from painting.jobs import COMPARED
from painting.layers import drawing, drawn_on, filled, grid_of, paint
from painting.parts import block_size, can_strip, pixels_for, strips
from painting.plan import Drawn, Plan, note_coverage
from painting.request import Request, flag
from painting.sheets import comparison_sheet
from pictures.tensors import Layers
from pictures.writing import BANDED
from utils import processes
from utils.errors import InputError
from utils.geometry.grids import Grid, OutputGrid
from utils.geometry.neighbours import PixelWindow
from utils.geometry.sizes import Size
from utils.system import keep_freed, select_device

REFERENCE_QUERIES = 30000


class TorchEngine:
    """An upscaler, with CMSR's `table` where one is used."""

    OPTIONS = frozenset({
        "model", "upsampler", "ensemble", "fast", "cmsr", "cmsr_path", "cmsr_mse", "cmsr_from", "force", "backend",
        "precision", "device", "gpu", "threads", "cmsr_map", "cmsr_report", "compare", "compare_at", "rotate",
        "homography", "background", "mask",
    })  # fmt: skip

    def __init__(self, upscaler: Upscaler, table: ScaleTable | None = None, is_fixed: bool = True):
        """`is_fixed`: whether the upscaler's precision was asked for."""
        self.is_fixed = is_fixed
        self.upscaler, self.table = upscaler, table
        self.exact = copy.copy(upscaler)  # for more than 8 bits, whose levels bfloat16 cannot tell apart
        self.exact.precision = "float32"

    def note(self, depth: int) -> str:
        return f" ({self.upscaler_for(depth).precision})" if self.upscaler.model.encodes else ""

    def upscaler_for(self, depth: int) -> Upscaler:
        """What paints outputs of so many bits a channel."""
        return self.upscaler if depth <= 8 or self.is_fixed else self.exact

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
        is_fixed = request.precision != "auto"
        if not request.cmsr:
            return cls(upscaler, is_fixed=is_fixed)
        path, mse, force = request.cmsr_path, request.cmsr_mse, request.force
        return cls(upscaler, find_table(upscaler, request.model, path, mse, force), is_fixed)

    def can(self, plan: Plan) -> bool:
        """All but what no engine knows."""
        unknown = plan.request.given - plans.OPTIONS - self.OPTIONS
        if unknown:
            raise InputError(f"{flag(min(unknown))} changes nothing about a picture; remove it")
        return True

    def encoded_size(self, plan: Plan) -> Size:
        if plan.request.is_warp or self.table:
            return plan.picture.size
        pixels = self._pixels(plan, grid_of(plan))
        return (pixels.height, pixels.width) if pixels else plan.picture.size

    def paint(self, plan: Plan) -> Drawn:
        request = plan.request
        grid, layers = grid_of(plan), Layers.of(plan.picture)
        beside, lines, covered = {}, [], None
        if self.table:
            layers = self._controlled(plan, layers, beside, lines)
        else:
            layers, covered = drawn_on(grid, lambda grid: self._drawn(plan, layers, grid))
        if covered is not None:
            note_coverage(plan, covered.numpy(), beside, lines)
        layers, pixel_format = filled(plan, layers, covered)
        if request.compare:
            lr, name = Layers.of(plan.picture).rgb(), Path(str(request.model)).stem
            sheet = comparison_sheet(lr, layers.rgb(), name, request.compare_at or ())
            beside[plan.job.beside(COMPARED)] = sheet
        return Drawn(layers.pixels(pixel_format.depth, pixel_format.channels), pixel_format, beside, lines)

    def can_strip(self, plan: Plan) -> bool:
        """Whether the window may be painted in strips, each written at once."""
        request, job = plan.request, plan.job
        if job.streams or job.form.name not in BANDED:
            return False
        whole = request.is_warp or request.cmsr or request.compare or not request.fast
        return not whole and can_strip(self.upscaler, plan.picture, plan.size)

    def strips(self, plan: Plan, memory: int) -> Iterator[np.ndarray]:
        """The window in strips of rows (.., W, C) that need so many bytes; InputError when one does not fit."""
        picture, made, window = plan.picture, plan.pixel_format, plan.window
        try:
            block = block_size(self.upscaler, picture.size, window[2], plan.size, memory)
        except InputError as error:
            raise InputError(f"{plan.job.source}: {error}") from None
        return (
            filled(plan, layers)[0].pixels(made.depth, made.channels)
            for layers in strips(self.upscaler_for(made.depth), picture, plan.size, window, block)
        )

    def _drawn(self, plan: Plan, layers: Layers, grid: OutputGrid) -> Layers:
        queries = None if plan.request.fast else REFERENCE_QUERIES
        draw = drawing(grid, queries, self._pixels(plan, grid))
        upscaler = self.upscaler_for(plan.pixel_format.depth)
        return paint(upscaler, layers, draw, drawing(grid, queries) if plan.request.is_warp else None)

    def _pixels(self, plan: Plan, grid: OutputGrid) -> PixelWindow | None:
        """Which LR pixels to encode for a grid; None: all."""
        return pixels_for(self.upscaler, grid, plan.picture.size) if plan.request.fast else None

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
