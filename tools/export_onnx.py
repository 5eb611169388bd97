"""Models as ONNX for onnxruntime and others: `python -m tools.export_onnx --model s --output s-onnx/`."""

import copy
import hashlib
import io
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoints.exported import ENCODE, FORMAT, RENDER
from models.checkpoints.loading import load_content, load_upscaler
from models.continuous import Latent
from models.decoders.ciaosr import NonLocalLatent
from models.encoders.swinir import SwinIR
from models.layers.cross_scale_attention import CROP, CrossScaleAttention
from models.lerf.lerf_net import LeRFNetPlus
from models.native import backends
from models.registry import weights_hash
from models.resampling.resampler import Resampler, ResamplingField
from models.upscaler import Upscaler
from models.zoo import ONNX_NOTE
from utils import cli
from utils.errors import InputError, shortened
from utils.files import atomic_file, check_target
from utils.geometry.neighbours import AxisTaps, axis_taps

OPSET = 16  # the first with GridSample
CALLS = {
    "encode.onnx": "image (B, 3, h, w), RGB in [0, 1] -> the latent, once per picture",
    "render.onnx": "the latent, coord (B, Q, 2), cell (B, 2) -> rgb (B, Q, 3) in [0, 1], at any positions; takes only "
    "what render_inputs names",
    "coord": "(y, x) in [-1, 1]; the centre of output pixel i of n is (2 * i + 1) / n - 1",
    "cell": "size of an output pixel, (2 / H, 2 / W); beyond the largest trained scale that at it, 2 / (h * largest), "
    "2 / (w * largest)",
}  # fmt: skip


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        description=f"Write a model as {ENCODE}, {RENDER} and {ONNX_NOTE}, a description; demo.py runs them.",
    )
    parser.add_argument("--model", required=True, help="checkpoint, folder of LeRF LUTs, or shipped model")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="folder to write to")
    parser.add_argument("--overwrite", action="store_true", help="replace the export in the folder")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    folder = Path(arguments.output)
    targets = [check_target(folder / name) for name in (ENCODE, RENDER, ONNX_NOTE)]
    if not arguments.overwrite and any(target.exists() for target in targets):
        raise InputError(f"{folder} holds an export; name another folder, or --overwrite it")
    spec = load_content(arguments.model)["model"]
    files, note = exported(load_upscaler(arguments.model))
    note["model"] = {key: spec[key] for key in ("name", "args") if spec.get(key) is not None}
    files[ONNX_NOTE] = json.dumps(note, indent=1).encode()
    for target in targets:
        with atomic_file(target) as temporary:
            temporary.write_bytes(files[target.name])
    size = sum(map(len, files.values())) / 2**20
    print(f"wrote {', '.join(map(str, targets))}: opset {OPSET}, {size:.2f} MiB")


class Encode(nn.Module):
    """Picture -> latent, as one graph."""

    def __init__(self, upscaler: Upscaler):
        super().__init__()
        self.model, self.normalization = upscaler.model, upscaler.normalization

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        latent = self.model.encode(self.normalization.inp.apply(image))
        non_local = getattr(latent, "non_local", None)
        return (latent.features, latent.image, *(() if non_local is None else (non_local,)))


class Render(Encode):
    """Latent, positions and cell -> rgb, as one graph."""

    def forward(self, features: Tensor, image: Tensor, *rest: Tensor) -> Tensor:
        *non_local, coord, cell = rest
        if isinstance(self.model, Resampler):
            stretch = features.new_ones(1, 2, 1, 1).expand(features.shape[0], -1, -1, -1)  # reductions are done outside
            field = ResamplingField(features.permute(0, 2, 3, 1), stretch=stretch)
        elif hasattr(self.model, "cs_attn"):
            field = self.model.field(NonLocalLatent(features, image, *non_local), cell)
        else:
            field = self.model.field(Latent(features, image), cell)
        values = self.model.sample(field, coord)
        return self.normalization.gt.invert(values, channels_last=True).clamp(0, 1)


class FixedTaps:
    """Replaces `Resampler.taps`: always as many taps as the kernel has, since a graph cannot vary their number."""

    def __init__(self, model: Resampler):
        self.radius, self.taps = model.kernel.radius, round(2 * model.kernel.radius)

    def __call__(self, position: Tensor, n: int, stretch: Tensor, largest_stretch: float | None = None) -> AxisTaps:
        return axis_taps(position, n, self.radius, stretch, self.taps)


def exported(upscaler: Upscaler) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files by name, and what a note says of them; InputError for a model of which no graph can be made."""
    upscaler = replace(upscaler, model=copy.deepcopy(upscaler.model))  # whose taps become others
    model = upscaler.model
    if isinstance(model, LeRFNetPlus):
        raise InputError("no graph of LeRF-Net++ can be made; export the LeRF-Net, and its upsampler")
    smallest, largest = sides(model)
    side = max(smallest, 12)
    encode, render = Encode(upscaler), Render(upscaler)
    if isinstance(model, Resampler):
        model.taps = FixedTaps(model)
    picture, coord, cell = torch.rand(2, 3, side, side + 6), torch.rand(2, 21, 2) * 2 - 1, torch.full((2, 2), 0.05)
    with torch.no_grad(), backends.using("torch"):
        latent = encode(picture)
        names = ["features", "image_normalised", "non_local"][: len(latent)]
        picture_axes = {0: "B", 2: "h", 3: "w"}
        graphs = {
            ENCODE: graph(encode, (picture,), {"image": picture_axes}, dict.fromkeys(names, picture_axes)),
            RENDER: graph(
                render, (*latent, coord, cell),
                {**dict.fromkeys(names, picture_axes), "coord": {0: "B", 1: "Q"}, "cell": {0: "B"}},
                {"rgb": {0: "B", 1: "Q"}},
            ),
        }  # fmt: skip
    files = {name: content for name, (content, _) in graphs.items()}
    note = {
        "format": FORMAT, "model": {}, "weights_hash": weights_hash(model), "opset": OPSET, "calls": CALLS,
        "latent": names, "render_inputs": graphs[RENDER][1],
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "trained_scales": model.trained_scales and list(model.trained_scales), "averages": model.averages,
        "tiling": model.tiling.value, "floats_per_query": model.floats_per_query, "smallest_side": smallest,
        "largest_side": largest,
    }  # fmt: skip
    return files, note


def graph(
    module: nn.Module, inputs: tuple[Tensor, ...], input_axes: Mapping[str, Any], output_axes: Mapping[str, Any]
) -> tuple[bytes, list[str]]:
    """A module traced with example inputs, and the inputs that it uses."""
    import onnx

    written = io.BytesIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # of the tracer, about each size; the tests run other sizes
            torch.onnx.export(
                module, inputs, written, dynamo=False, opset_version=OPSET, input_names=list(input_axes),
                output_names=list(output_axes), dynamic_axes={**input_axes, **output_axes},
            )  # fmt: skip
    except (RuntimeError, ValueError, TypeError) as error:
        logging.getLogger(__name__).debug("export", exc_info=True)
        raise InputError(f"no graph of {type(module.model).__name__} can be made: {shortened(str(error))}") from None
    made = onnx.load_from_string(written.getvalue())
    onnx.checker.check_model(made)
    return written.getvalue(), [entry.name for entry in made.graph.input]


def sides(model: nn.Module) -> tuple[int, int | None]:
    """Smallest and largest side of pictures that a graph takes: it pads by reflection, and has no crops."""
    smallest, largest = 1, None
    for part in model.modules():
        if isinstance(part, CrossScaleAttention):
            smallest, largest = max(smallest, *part.scales), 2 * CROP - 1
        if isinstance(part, SwinIR):
            smallest = max(smallest, part.window)
    return smallest, largest


if __name__ == "__main__":
    cli.run(main)
