"""Times: rendering and whole pictures, a training step."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from PIL import Image

import models
from models.decoders.lmf import LMFDecoder
from models.upscaler import Upscaler
from pictures.reading import read_rgb
from pictures.tensors import resize_bicubic, to_tensor
from tools.bench.costs import macs_per_run
from tools.bench.figures import Figure, in_turn, load, ratio, short_name
from utils import cli
from utils.geometry.grids import Grid, Size
from utils.geometry.homographies import Homography
from utils.geometry.sizes import output_size, scale_text

CONFIGS = "configs/train-lmf/train_edsr-"
RENDERED = (f"{CONFIGS}baseline-lmliif.yaml", f"{CONFIGS}baseline-lmlte.yaml", f"{CONFIGS}baseline-lmciaosr.yaml")
RENDERED += ("save/pretrained_models/lerf-g", "save/pretrained_models/lerf-l")
DEGREES = 12  # angle of the measured warp
PRODUCT_SIDE = 1024  # side of the square matrices whose product is the yardstick


def add_commands(commands: Any, common: cli.Parser) -> None:
    measured = "a checkpoint, a filter, or a training config (random weights)"
    help = (
        "models in turn: rendering at several scales, a whole picture and a warp at the first, compared with Pillow's "
    )
    help += "bicubic resize and with a matrix product of as many multiply-adds"
    rendering = commands.add_parser("render", parents=[common], help=help, description=help)
    rendering.add_argument("--models", nargs="+", default=RENDERED, help=f"each {measured}")
    rendering.add_argument("--picture", default="load/samples/coffee.png", help="resized to the input size")
    rendering.add_argument("--scales", type=cli.scales, default="4,1.5,2,2.5,3x1.5,8", help="scales to render")
    cli.add_options(rendering, "backend")
    help = "a training step, compared with its encoder's"
    training = commands.add_parser("train", parents=[common], help=help, description=help)
    training.add_argument("--model", default=f"{CONFIGS}s-lmliif.yaml", help=measured)
    training.add_argument("--batch", type=cli.count, default=8, help="pictures per step")
    training.add_argument("--queries", type=cli.count, default=1024, help="positions per picture")
    for command, run, size in ((rendering, render, "320x180"), (training, train, "32x32")):
        command.add_argument("--input", type=cli.size, default=size, metavar="WxH", help="input size in pixels")
        command.add_argument("--repeats", type=cli.count, default=5, help="rounds after a warm-up")
        command.set_defaults(run=lambda arguments, run=run: {"figures": run(arguments)})


def render(arguments: Any) -> dict[str, Figure]:
    """Seconds and ratios of each model's stages, all models in turn."""
    pixels = resize_bicubic(read_rgb(arguments.picture), arguments.input)
    sizes = {f"x{scale_text(scale)}": output_size(arguments.input, scale) for scale in arguments.scales}
    size = next(iter(sizes.values()))
    grid = Homography.rotation(DEGREES, arguments.input, size, arguments.scales[0]).grid(arguments.input, size)
    left, right = torch.rand(2, PRODUCT_SIDE, PRODUCT_SIDE)
    runs = {"Pillow": lambda: Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC)}
    runs["product"] = lambda: left @ right
    upscalers = {short_name(name): load(name, arguments.backend) for name in arguments.models}
    for name, upscaler in upscalers.items():
        runs |= {f"{name} {stage}": run for stage, run in stages(upscaler, to_tensor(pixels), sizes, grid).items()}
    times = in_turn(runs, arguments.repeats)
    figures = {f"{name}, s": Figure.of(values) for name, values in times.items()}
    for name, upscaler in upscalers.items():
        for label in sizes:
            if work := products(upscaler.model, 0, sizes[label][0] * sizes[label][1]):
                figures[f"{name} {label} / product"] = ratio(times[f"{name} {label}"], times["product"], work)
        if work := products(upscaler.model, arguments.input[0] * arguments.input[1], 0):
            figures[f"{name} field / product"] = ratio(times[f"{name} field"], times["product"], work)
        figures[f"{name} whole / Pillow"] = ratio(times[f"{name} whole"], times["Pillow"])
        for above, below in (("whole", "encoder"), ("warp", "whole"), ("whole bfloat16", "whole")):
            if f"{name} {above}" in times:
                figures[f"{name} {above} / {below}"] = ratio(times[f"{name} {above}"], times[f"{name} {below}"])
    return figures


def stages(upscaler: Upscaler, picture: torch.Tensor, sizes: dict[str, Size], warp: Any) -> dict[str, Callable]:
    """{name: a call} of a model's stages; rendering is from a field, kernel constants included, whole pictures and the
    warp are of the first size."""
    latent, size = upscaler.encode(picture), next(iter(sizes.values()))
    cell = upscaler.model.cell(latent, Grid.of_size(size))
    runs = {
        "encoder": lambda: upscaler.encode(picture),
        "field": lambda: computed(upscaler, upscaler.model.field, latent, cell),
        "whole": lambda: upscaler(picture, size),
        "warp": lambda: upscaler(picture, warp),
    }
    if upscaler.model.encodes:
        quick = replace(upscaler, precision="bfloat16")
        runs["whole bfloat16"] = lambda: quick(picture, size)
    return runs | {label: renderer(upscaler, latent, each) for label, each in sizes.items()}


def computed(upscaler: Upscaler, function: Callable, *arguments: Any) -> Any:
    with upscaler.computing():
        return function(*arguments)


def renderer(upscaler: Upscaler, latent: models.Latent, size: Size) -> Callable[[], Any]:
    """A function that renders at `size` from a field made beforehand."""
    model, grid = upscaler.model, Grid.of_size(size)
    cell, output = model.cell(latent, grid), torch.empty(len(latent.image), 3, *size)
    field = computed(upscaler, model.field, latent, cell)

    def paint() -> None:
        model.paint(model.with_cell(field, cell) if isinstance(model, LMFDecoder) else field, grid, output)

    return lambda: computed(upscaler, paint)


def products(model: models.ContinuousModel, pixels: int, queries: int) -> float:
    """Number of matrix products with as many multiply-adds as the networks behind the encoder; 0 without networks."""
    runs = model.network_runs(pixels, queries)
    return sum(macs_per_run(network) * times for network, times in runs) / PRODUCT_SIDE**3


def train(arguments: Any) -> dict[str, Figure]:
    """Forward and backward of a training step, and of its encoder alone, both in channels_last."""
    model = load(arguments.model).model.train()
    image = torch.rand(arguments.batch, 3, *arguments.input).contiguous(memory_format=torch.channels_last)
    coord = torch.rand(arguments.batch, arguments.queries, 2) * 2 - 1
    cell = torch.full((arguments.batch, 2), 2 / (2.5 * max(arguments.input)))
    target = torch.rand(arguments.batch, arguments.queries, 3)

    def encoder_alone() -> None:
        features = model.encoder(image)
        features.backward(torch.ones_like(features))

    runs = {
        "encoder": encoder_alone,
        "step": lambda: torch.nn.functional.l1_loss(model(image, coord, cell), target).backward(),
    }
    times = in_turn(runs, 5 * arguments.repeats)
    figures = {f"{name}, s": Figure.of(values) for name, values in times.items()}
    return {**figures, "step / encoder": ratio(times["step"], times["encoder"])}
