"""Make a teacher's targets ahead: `python -m datasets.teach load/train --model DAT_light_x4.pth --output
load/taught`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from datasets.teacher import KINDS, MANIFEST, read_manifest, same, sha256
from datasets.wrappers import whole_sizes
from models.checkpoints.loading import load_upscaler
from models.upscaler import Upscaler
from models.zoo import resolve
from pictures.reading import list_pictures, read_rgb
from pictures.tensors import resize_bicubic, to_pixels, to_tensor
from pictures.writing import write_picture
from utils import cli, processes, system
from utils.errors import InputError
from utils.files import atomic_file, distinct_names, locked, new_folder

ENLARGED = 4  # times, by models that were trained for several scales


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        description="Reduce pictures by bicubic and enlarge them with a model, as targets for `teacher: {folder: "
        "OUTPUT}` of a training. What is there already and has not changed is kept.",
    )
    parser.add_argument("folder", help="HR pictures")
    parser.add_argument("--model", required=True, help="checkpoint or short name; with spandrel, also its models")
    parser.add_argument("--output", required=True, help="folder of the pairs OUTPUT/xSCALE/lr and OUTPUT/xSCALE/hr")
    parser.add_argument("--scales", type=cli.count, nargs="+", default=[4], help="by which pictures are reduced")
    parser.add_argument("--max-minutes", type=cli.positive, help="stop after so long (default: never)")
    cli.add_options(parser, *cli.DEVICE)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> str:
    arguments = parse_arguments(argv)
    system.settle_threads(arguments.threads)
    device, _ = system.select_device(arguments.device, arguments.gpu)
    paths, output = distinct_names(list_pictures(arguments.folder)), Path(arguments.output)
    model = resolve(arguments.model)
    upscaler = load_upscaler(model, device)
    upscaler.safeguards = False
    smallest, largest = upscaler.model.trained_scales or (1, ENLARGED)
    times = int(largest) if smallest == largest else ENLARGED
    with processes.watch(arguments.max_minutes) as stop, new_folder(output), locked(output):
        manifest = begin(output, sha256(model.path) if model.path and model.path.is_file() else model.label, times)
        todo = [(path, name, scale) for scale in arguments.scales for path, name in paths.items()]
        made = 0
        for path, name, scale in tqdm(todo, desc="teaching", leave=False, disable=None):
            entries = manifest["scales"].setdefault(f"x{scale}", {})
            files = {kind: output / f"x{scale}" / kind / f"{name}.png" for kind in KINDS}
            source, entry = sha256(path), entries.get(name, {})
            if entry.get("source") == source and all(same(files[kind], entry[kind]) for kind in KINDS):
                continue
            teach(path, files, scale, upscaler, times)
            entries[name] = {"source": source, **{kind: sha256(file) for kind, file in files.items()}}
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


def teach(path: Path, files: dict[str, Path], scale: int, upscaler: Upscaler, times: int) -> None:
    """Write the LR picture of a photograph, reduced by `scale`, and what the teacher makes of it."""
    picture = read_rgb(path)
    lr_size, (height, width) = whole_sizes(picture.shape[:2], (scale, scale))
    lr = resize_bicubic(picture[:height, :width], lr_size)
    with torch.inference_mode():
        hr = upscaler(to_tensor(lr)[None], tuple(times * side for side in lr_size))[0]
    write_picture(files["lr"], lr)
    write_picture(files["hr"], to_pixels(hr.float().cpu()))


if __name__ == "__main__":
    cli.run(main)
