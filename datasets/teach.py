"""Make a teacher's targets ahead: `python -m datasets.teach load/train --model DAT_light_x4.pth --output
load/taught`."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from datasets.teacher import MANIFEST, read_manifest, sha256
from datasets.wrappers import whole_sizes
from models.checkpoints.loading import load_upscaler
from models.zoo import ModelFile, resolve
from pictures.reading import list_pictures, read_rgb
from pictures.tensors import resize_bicubic, to_pixels, to_tensor
from pictures.writing import write_picture
from utils import cli, processes, system
from utils.errors import InputError
from utils.files import atomic_file, distinct_names, locked, new_folder

BLOCK, MARGIN = 192, 32  # LR pixels: networks of a fixed scale enlarge a picture in blocks
ENLARGED = 4  # times, by models of any scale

Enlarge = Callable[[Tensor], Tensor]


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="datasets.teach",
        description="Reduce pictures by bicubic and enlarge them with a model, as targets for `teacher: {folder: "
        "OUTPUT}` of a training. What is there already and has not changed is kept.",
    )
    parser.add_argument("folder", help="HR pictures")
    parser.add_argument("--model", required=True, help="checkpoint or short name; with spandrel, also its models")
    parser.add_argument("--output", required=True, help="folder of the pairs OUTPUT/xSCALE/lr and OUTPUT/xSCALE/hr")
    parser.add_argument("--scales", type=cli.count, nargs="+", default=[4], help="by which pictures are reduced")
    parser.add_argument("--max-minutes", type=cli.positive, help="stop after so long (default: never)")
    cli.add_device_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> str:
    arguments = parse_arguments(argv)
    system.settle_threads(arguments.threads)
    device, _ = system.select_device(arguments.device, arguments.gpu)
    paths = distinct_names(list_pictures(arguments.folder))
    output, model = Path(arguments.output), resolve(arguments.model)
    enlarge, times = load_teacher(model, device)
    with processes.watch(arguments.max_minutes) as stop, new_folder(output), locked(output):
        manifest = begin(output, identity(model), times)
        todo = [(path, str(name), scale) for scale in arguments.scales for path, name in paths.items()]
        made = 0
        for path, name, scale in tqdm(todo, desc="teaching", leave=False, disable=None):
            entries = manifest["scales"].setdefault(f"x{scale}", {})
            target, source = output / f"x{scale}", sha256(path)
            if is_made(target, name, entries.get(name), source):
                continue
            entries[name] = teach(path, target, name, scale, enlarge) | {"source": source}
            with atomic_file(output / MANIFEST) as temporary:
                temporary.write_text(json.dumps(manifest, indent=1))
            made += 1
            if stop.wanted:
                return f"the time is up; made {made} targets in {output}, the same command goes on"
    return f"made {made} targets of {len(todo)} in {output}, the others were there"


def begin(output: Path, teacher: str, times: int) -> dict[str, Any]:
    """The manifest of the output; InputError when another teacher has made it."""
    if not (output / MANIFEST).exists():
        return {"teacher": teacher, "times": times, "scales": {}}
    manifest = read_manifest(output)
    if (manifest["teacher"], manifest["times"]) != (teacher, times):
        raise InputError(f"{output} holds targets of another model; use another --output")
    return manifest


def is_made(target: Path, name: str, entry: dict[str, str] | None, source: str) -> bool:
    """Whether a pair is there as its manifest says, of the same source."""
    files = {kind: target / kind / f"{name}.png" for kind in ("lr", "hr")}
    return (
        entry is not None
        and entry["source"] == source
        and all(path.is_file() and sha256(path) == entry[kind] for kind, path in files.items())
    )


def teach(path: Path, target: Path, name: str, scale: int, enlarge: Enlarge) -> dict[str, str]:
    """Write the LR picture of a photograph, reduced by `scale`, and what the teacher makes of it: their SHA-256."""
    picture = read_rgb(path)
    lr_size, (height, width) = whole_sizes(picture.shape[:2], (scale, scale))
    lr = resize_bicubic(picture[:height, :width], lr_size)
    with torch.inference_mode():
        hr = to_pixels(enlarge(to_tensor(lr)[None])[0].float().cpu().clamp(0, 1))
    for kind, pixels in (("lr", lr), ("hr", hr)):
        file = target / kind / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_picture(file, np.ascontiguousarray(pixels))
    return {kind: sha256(target / kind / f"{name}.png") for kind in ("lr", "hr")}


def identity(model: ModelFile) -> str:
    """SHA-256 of the files of a model, or its name where it has none."""
    path = model.path
    files = [] if path is None else sorted(path.rglob("*")) if path.is_dir() else [path]
    hashes = [sha256(file) for file in files if file.is_file()]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(repr((model.label, hashes)).encode()).hexdigest()


def load_teacher(model: ModelFile, device: torch.device) -> tuple[Enlarge, int]:
    """A function that enlarges (1, 3, h, w) in [0, 1], and how many times: a model of ours by ENLARGED, one of
    spandrel's by its own scale. InputError when the file is neither."""
    try:
        upscaler = load_upscaler(model, device)
    except InputError as ours:
        network, scale = _of_spandrel(model.path, ours)
        network.to(device)
        return lambda lr: in_blocks(network, lr.to(device), scale), scale
    return lambda lr: upscaler(lr, tuple(ENLARGED * side for side in lr.shape[-2:])), ENLARGED


def _of_spandrel(file: Path, ours: InputError) -> tuple[Any, int]:
    try:
        from spandrel import ImageModelDescriptor, ModelLoader
    except ImportError:
        raise ours from None
    try:
        network = ModelLoader().load_from_file(file)
    except Exception as error:  # whatever the formats of many programs raise
        raise InputError(f"{ours}; nor does spandrel read it: {error or type(error).__name__}") from None
    if not isinstance(network, ImageModelDescriptor) or network.scale < 2 or network.input_channels != 3:
        raise InputError(f"{file} is no network that enlarges RGB pictures")
    return network.eval(), network.scale


def in_blocks(network: Enlarge, lr: Tensor, scale: int) -> Tensor:
    """(1, 3, h, w) -> (1, 3, scale * h, scale * w), block by block, each seen with its surroundings."""
    height, width = lr.shape[-2:]
    output = lr.new_empty(1, 3, scale * height, scale * width)
    for top in range(0, height, BLOCK):
        for left in range(0, width, BLOCK):
            upper, outer = max(0, top - MARGIN), max(0, left - MARGIN)
            bottom, right = min(top + BLOCK, height), min(left + BLOCK, width)
            block = network(lr[..., upper : bottom + MARGIN, outer : right + MARGIN])
            rows, columns = (
                slice(scale * (begin - seen), scale * (end - seen))
                for begin, end, seen in ((top, bottom, upper), (left, right, outer))
            )
            output[..., scale * top : scale * bottom, scale * left : scale * right] = block[..., rows, columns]
    return output


if __name__ == "__main__":
    cli.run(main)
