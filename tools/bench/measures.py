"""Measurements of tools.bench: in each round the candidates run in turn, so a busy machine slows all of them alike.

Figures are medians over rounds. Ratios are taken within a round; seconds are only meaningful on a quiet machine.
"""

import ctypes
import math
import multiprocessing
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import models
from models.checkpoints.loading import load_upscaler
from models.decoders.lmf import LMFDecoder
from models.upscaler import Upscaler
from pictures.reading import read_rgb
from pictures.tensors import resize_bicubic, to_pixels, to_tensor
from tools.bench.costs import encoder_macs, macs_per_run
from utils.config import load_config, require
from utils.geometry.grids import Grid, Size
from utils.geometry.homographies import Homography, WarpedGrid
from utils.geometry.sizes import output_size, scale_text

DEGREES = 12  # angle of the measured warp
PRODUCT_SIDE = 1024  # side of the square matrices whose product is the yardstick


@dataclass(frozen=True)
class Figure:
    """A measured quantity."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: list[float]) -> "Figure":
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.4g} ({self.lowest:.4g} to {self.highest:.4g})"


def in_turn(runs: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each candidate in every round, after a warm-up."""
    for run in runs.values():
        run()
    times = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return times


def ratio(above: list[float], below: list[float], factor: float = 1.0) -> Figure:
    """above / (below * factor), round by round."""
    return Figure.of([a / (b * factor) for a, b in zip(above, below, strict=True)])


def matrix_product(dtype: torch.dtype = torch.float32) -> Callable[[], Any]:
    """A matrix product of PRODUCT_SIDE^3 multiply-adds."""
    left, right = torch.rand(2, PRODUCT_SIDE, PRODUCT_SIDE).to(dtype)
    return lambda: left @ right


def products(model: models.ContinuousModel, pixels: int, queries: int) -> float:
    """Number of such products with as many multiply-adds as the networks behind the encoder."""
    return (
        sum(macs_per_run(network) * times for network, times in model.network_runs(pixels, queries)) / PRODUCT_SIDE**3
    )


@torch.inference_mode()
def render(arguments: Any) -> dict[str, Figure]:
    """Rendering from a field, kernel constants included, at several scales; the latent MLP; the matrix product for the
    same multiply-adds."""
    figures = {}
    for name in arguments.models:
        upscaler = load(name, arguments.backend)
        latent = upscaler.encode(torch.rand(3, *arguments.input))
        sizes = {f"x{scale_text(scale)}": output_size(arguments.input, scale) for scale in arguments.scales}
        runs = {label: renderer(upscaler, latent, size) for label, size in sizes.items()}
        first = next(iter(sizes.values()))
        runs |= {"product": matrix_product(), "latent": latent_stage(upscaler, latent, first)}
        times = in_turn(runs, arguments.repeats)
        name = short_name(name)
        for label, size in sizes.items():
            figures[f"{name} {label}, s"] = Figure.of(times[label])
            if work := products(upscaler.model, 0, size[0] * size[1]):
                figures[f"{name} {label} / product"] = ratio(times[label], times["product"], work)
        for small, large in ((a, b) for a in sizes for b in sizes if sizes[b] == tuple(2 * n for n in sizes[a])):
            figures[f"{name} {large} / {small}"] = ratio(times[large], times[small])
        if work := products(upscaler.model, arguments.input[0] * arguments.input[1], 0):
            figures[f"{name} latent MLP / product"] = ratio(times["latent"], times["product"], work)
    return figures


def short_name(model: str) -> str:
    """What figures call a model."""
    return Path(model).stem.removeprefix("train_")


def render_curves(arguments: Any, figures: Mapping[str, Figure]) -> dict[str, dict[int, float]]:
    """{model: {output pixels: median seconds}} of the figures of `render`."""
    pixels = {scale_text(scale): math.prod(output_size(arguments.input, scale)) for scale in arguments.scales}
    names = map(short_name, arguments.models)
    return {name: {n: figures[f"{name} x{text}, s"].median for text, n in pixels.items()} for name in names}


def renderer(upscaler: Upscaler, latent: models.Latent, size: Size) -> Callable[[], Any]:
    """A function that renders at `size` from a field made beforehand."""
    model, grid = upscaler.model, Grid.of_size(size)
    cell, output = model.cell(latent, grid), torch.empty(len(latent.image), 3, *size)
    field = model.field(latent, cell)

    def paint() -> None:
        with upscaler.computing():
            model.paint(model.with_cell(field, cell) if isinstance(model, LMFDecoder) else field, grid, output)

    return paint


def latent_stage(upscaler: Upscaler, latent: models.Latent, size: Size) -> Callable[[], Any]:
    """A function that makes the field for `size`."""
    cell = upscaler.model.cell(latent, Grid.of_size(size))

    def make() -> None:
        with upscaler.computing():
            upscaler.model.field(latent, cell)

    return make


def end_to_end(arguments: Any) -> dict[str, Figure]:
    """A whole picture, compared with its encoder alone, and with the same in bfloat16."""
    upscaler = load(arguments.model, arguments.backend)
    picture, size = torch.rand(3, *arguments.input), arguments.size
    latent = upscaler.encode(picture)
    runs = {
        "encoder": lambda: upscaler.encode(picture),
        "field and rendering": lambda: upscaler.render(latent, size),
        "whole": lambda: upscaler(picture, size),
    }
    if upscaler.model.encodes:
        quick = replace(upscaler, precision="bfloat16")
        coarse = quick.encode(picture)
        runs["encoder bfloat16"] = lambda: quick.encode(picture)
        runs["field and rendering bfloat16"] = lambda: quick.render(coarse, size)
        runs["whole bfloat16"] = lambda: quick(picture, size)
    times = in_turn(runs, arguments.repeats)
    figures = {f"{name}, s": Figure.of(values) for name, values in times.items()}
    figures["whole / encoder"] = ratio(times["whole"], times["encoder"])
    if "whole bfloat16" in times:
        figures["whole bfloat16 / float32"] = ratio(times["whole bfloat16"], times["whole"])
    return figures


def lerf(arguments: Any) -> dict[str, Figure]:
    """LeRF models against Pillow's bicubic resize of the same picture: encoding, rendering, the whole picture, a warp
    by a turn, and the whole picture by PyTorch alone."""
    size = arguments.size
    pixels = resize_bicubic(read_rgb(arguments.picture), arguments.input)
    filtered, picture = Image.fromarray(pixels), to_tensor(pixels)
    grid = turn(arguments.input, size)
    runs = {"Pillow": lambda: filtered.resize((size[1], size[0]), Image.Resampling.BICUBIC)}
    for path in arguments.models:
        name, upscaler, portable = short_name(path), load(path, arguments.backend), load(path, "torch")
        latent = upscaler.encode(picture)
        runs[f"{name} encoder"] = lambda u=upscaler: u.encode(picture)
        runs[f"{name} rendering"] = lambda u=upscaler, c=latent: u.render(c, size)
        runs[f"{name} whole"] = lambda u=upscaler: u(picture, size)
        runs[f"{name} warp"] = lambda u=upscaler: u(picture, grid)
        runs[f"{name} whole by PyTorch"] = lambda u=portable: u(picture, size)
    times = in_turn(runs, arguments.repeats)
    figures = {f"{name}, s": Figure.of(values) for name, values in times.items()}
    for name in map(short_name, arguments.models):
        figures[f"{name} whole / Pillow"] = ratio(times[f"{name} whole"], times["Pillow"])
        figures[f"{name} warp / whole"] = ratio(times[f"{name} warp"], times[f"{name} whole"])
        figures[f"{name} PyTorch / whole"] = ratio(times[f"{name} whole by PyTorch"], times[f"{name} whole"])
    return figures


def load(model: str, backend: str = "auto") -> Upscaler:
    """A checkpoint or filter, or the untrained model of a training config."""
    if not model.endswith((".yaml", ".yml")):
        return load_upscaler(model, backend=backend)
    torch.manual_seed(0)
    return Upscaler(models.make(require(load_config(model), "model", model)).eval(), backend=backend)


def encode(arguments: Any) -> dict[str, Figure]:
    """Encoding once and rendering n sizes, compared with n calls that do both."""
    upscaler = load(arguments.model, arguments.backend)
    picture = torch.rand(3, *arguments.input)
    sizes = [output_size(arguments.input, scale) for scale in arguments.scales]

    def together() -> None:
        latent = upscaler.encode(picture)
        for size in sizes:
            upscaler.render(latent, size)

    def separately() -> None:
        for size in sizes:
            upscaler(picture, size)

    times = in_turn(
        {"encoder": lambda: upscaler.encode(picture), "together": together, "separately": separately}, arguments.repeats
    )
    rounds = zip(times["separately"], times["together"], times["encoder"], strict=True)
    return {
        "encoder, s": Figure.of(times["encoder"]),
        f"encode once, render {len(sizes)} sizes, s": Figure.of(times["together"]),
        f"{len(sizes)} separate calls, s": Figure.of(times["separately"]),
        "encoder runs saved": Figure.of([(apart - once) / encoder for apart, once, encoder in rounds]),
        "separate / once": ratio(times["separately"], times["together"]),
    }


def precision(arguments: Any) -> dict[str, Figure]:
    """Encoding in float32 and in bfloat16, compared with matrix products of as many multiply-adds in each."""
    figures = {}
    picture = torch.rand(3, *arguments.input)
    for name in arguments.models:
        exact, label = load(name), short_name(name)
        runs = {"float32": matrix_product(), "bfloat16": matrix_product(torch.bfloat16)}
        for number in ("float32", "bfloat16"):
            runs[f"encoder {number}"] = partial(replace(exact, precision=number).encode, picture)
        times = in_turn(runs, arguments.repeats)
        work = encoder_macs(exact.model, arguments.input) / PRODUCT_SIDE**3
        for number in ("float32", "bfloat16"):
            figures[f"{label} {number}, s"] = Figure.of(times[f"encoder {number}"])
            figures[f"{label} {number} / product"] = ratio(times[f"encoder {number}"], times[number], work)
        figures[f"{label} bfloat16 / float32"] = ratio(times["encoder bfloat16"], times["encoder float32"])
    return figures


def train(arguments: Any) -> dict[str, Figure]:
    """Forward and backward of a training step, and of its encoder alone, both in channels_last."""
    model = load(arguments.model).model.train()
    image = torch.rand(arguments.batch, 3, *arguments.input).contiguous(memory_format=torch.channels_last)
    coord = torch.rand(arguments.batch, arguments.queries, 2) * 2 - 1
    cell = torch.full((arguments.batch, 2), 2 / (2.5 * max(arguments.input)))
    target = torch.rand(arguments.batch, arguments.queries, 3)

    def step() -> None:
        torch.nn.functional.l1_loss(model(image, coord, cell), target).backward()

    def encoder_alone() -> None:
        features = model.encoder(image)
        features.backward(torch.ones_like(features))

    times = in_turn({"encoder": encoder_alone, "step": step}, 5 * arguments.repeats)
    return {
        "encoder, s": Figure.of(times["encoder"]),
        "step, s": Figure.of(times["step"]),
        "step / encoder": ratio(times["step"], times["encoder"]),
    }


def memory(arguments: Any) -> dict[str, float]:
    """Peak resident memory of a picture in a process of its own: beyond what it held after importing PyTorch and this
    project; and of rendering or warping alone, beyond input, weights, the encoded picture and the output (Linux)."""
    figures = {}
    for name in arguments.models:
        settings = (name, arguments.backend, arguments.input, arguments.size, arguments.threads)
        label = short_name(name)
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            imported, peak = pool.apply(peak_memory, settings)
            alone = {warped: pool.apply(peak_of_rendering, (*settings, warped)) for warped in (False, True)}
        figures["after imports, MB"] = imported
        figures[f"{label} peak, MB"] = peak
        figures[f"{label} peak beyond imports, MB"] = peak - imported
        for warped, megabytes in alone.items():
            if megabytes is not None:
                figures[f"{label} {'warp' if warped else 'rendering'} beyond input and output, MB"] = megabytes
    return figures


def peak_memory(model: str, backend: str, input_size: Size, size: Size, threads: int) -> tuple[float, float]:
    """MB resident before, and at the peak of, upscaling a picture to 8-bit pixels as demo.py does."""
    torch.set_num_threads(threads)
    before = resident_megabytes()
    to_pixels(load(model, backend)(torch.rand(3, *input_size), size)[0])
    return before, resident_megabytes()


def peak_of_rendering(
    model: str, backend: str, input_size: Size, size: Size, threads: int, warped: bool = False
) -> float | None:
    """MB that rendering or turning an encoded picture needs beyond its output; None where the system does not tell."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    torch.set_num_threads(threads)
    upscaler = load(model, backend)

    def output(latent: models.Latent, input_size: Size, size: Size) -> torch.Tensor:
        return upscaler.render(latent, turn(input_size, size) if warped else size)

    small = (16, 16)
    output(upscaler.encode(torch.rand(3, *small)), small, (32, 32))  # loads libraries and starts threads first
    latent = upscaler.encode(torch.rand(3, *input_size))
    with suppress(AttributeError):  # C libraries other than glibc have nothing to trim
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the largest resident size starts again from the present one
    before = _largest_resident()
    picture = output(latent, input_size, size)
    return _largest_resident() - before - picture.nbytes / 1e6


def turn(input_size: Size, size: Size) -> WarpedGrid:
    """The warp that is measured."""
    scale = (size[0] / input_size[0], size[1] / input_size[1])
    return Homography.rotation(DEGREES, input_size, size, scale).grid(input_size, size)


def _largest_resident() -> float:
    """MB since clear_refs was last written; `resource` keeps the largest since the process started."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


def resident_megabytes() -> float:
    """Largest resident size of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def machine() -> dict[str, str]:
    """Processor and versions."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = f"{names[0]} x {len(names)}" if names else cpu
    return {"cpu": cpu, "python": platform.python_version(), "torch": torch.__version__}
