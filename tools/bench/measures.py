"""Times: rendering, encoding, whole pictures, LeRF, a training step."""

from collections.abc import Callable, Sequence
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

BASELINE = "configs/train-lmf/train_edsr-baseline-lmliif.yaml"
LMF = tuple(f"configs/train-lmf/train_edsr-baseline-{name}.yaml" for name in ("lmliif", "lmlte", "lmciaosr"))
LERF = ("save/pretrained_models/lerf-g", "save/pretrained_models/lerf-l")
SMALL = "configs/train-lmf/train_edsr-s-lmliif.yaml"
DEGREES = 12  # angle of the measured warp
PRODUCT_SIDE = 1024  # side of the square matrices whose product is the yardstick


def add_commands(commands: Any, common: cli.Parser) -> None:
    measured = "a checkpoint, a filter, or a training config (random weights)"

    def add(run: Callable, description: str, size: str = "320x180", several: Sequence[str] = (), one: str = "") -> Any:
        name = run.__name__.replace("_", "-")
        command = commands.add_parser(name, parents=[common], help=description, description=description)
        if several:
            command.add_argument("--models", nargs="+", default=several, help=f"each {measured}")
        if one:
            command.add_argument("--model", default=one, help=measured)
        command.add_argument("--input", type=cli.size, default=size, metavar="WxH", help="input size in pixels")
        command.add_argument("--repeats", type=cli.count, default=5, help="rounds after a warm-up")
        if run is not train:
            cli.add_backend_option(command)
        command.set_defaults(run=lambda arguments: {"figures": run(arguments)})
        return command

    together = add(encode, "encoding once and rendering several sizes, compared with separate calls", one=BASELINE)
    together.add_argument("--scales", type=cli.scales, default="1.5,2,2.5,3,4", help="scales to render")
    product = "rendering at several scales, compared with a matrix product of as many multiply-adds"
    several = add(render, product, several=LMF)
    several.add_argument("--scales", type=cli.scales, default="2,3x1.5,3.3,4,8", help="scales to render")
    resized = "LeRF's stages, a whole picture and a warp, compared with Pillow's bicubic resize"
    resampling = add(lerf, resized, several=LERF)
    resampling.add_argument("--picture", default="load/samples/coffee.png", help="resized to the input size")
    whole = add(end_to_end, "a whole picture, compared with its encoder alone", one=BASELINE)
    step = add(train, "a training step, compared with its encoder's", "32x32", one=SMALL)
    step.add_argument("--batch", type=int, default=8, help="pictures per step")
    step.add_argument("--queries", type=int, default=1024, help="positions per picture")
    for command, size in ((resampling, "1280x720"), (whole, "1280x720")):
        command.add_argument("--size", type=cli.size, default=size, metavar="WxH", help="output size in pixels")


def matrix_product() -> Callable[[], Any]:
    """A matrix product of PRODUCT_SIDE^3 multiply-adds."""
    left, right = torch.rand(2, PRODUCT_SIDE, PRODUCT_SIDE)
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
        runs["encoder bfloat16"] = lambda: quick.encode(picture)
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
    scale = (size[0] / arguments.input[0], size[1] / arguments.input[1])
    grid = Homography.rotation(DEGREES, arguments.input, size, scale).grid(arguments.input, size)
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
