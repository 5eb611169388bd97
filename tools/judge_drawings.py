"""PSNR and false colours of models on drawn pictures: `python -m tools.judge_drawings load/drawings/test --model M`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

import datasets
import models
from datasets.implicit import ImplicitDataset
from evaluation.measure import measure_pair
from evaluation.protocols import find_protocol
from models.checkpoints.loading import load_upscaler
from models.upscaler import Upscaler
from pictures.tensors import to_tensor
from utils import cli
from utils.geometry.sizes import scale_text

PROTOCOL = find_protocol("rgb")
GAP = 40  # LR pixels


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(
        prog="judge_drawings",
        description="Mean PSNR in dB (RGB) and largest chroma (of 255) that black-and-white pictures come out with.",
    )
    parser.add_argument("folder", help="pictures of make_drawings; LR ones are made of them by Pillow's bicubic")
    parser.add_argument("--scales", type=cli.scales, default="2,3,4", help="such as 2,3.5")
    parser.add_argument(
        "--model", required=True, nargs="+", help=f"checkpoints, or filters: {', '.join(models.names('resampling'))}"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> str:
    """A Markdown table with a row for each model, a cell for each scale."""
    arguments = parse_arguments(argv)
    pictures = {"name": "image-folder", "args": {"root_path": arguments.folder}}
    sets = {}
    for scale in arguments.scales:
        spec = {"name": "sr-implicit-downsampled", "args": {"scale_min": list(scale)}}
        sets[scale_text(scale)] = datasets.make(spec, dataset=datasets.make(pictures))
    lines = [f"| | {' | '.join(f'x{scale}' for scale in sets)} |", "|---" * (len(sets) + 1) + "|"]
    for name in arguments.model:
        upscaler = load_upscaler(name)
        scores = (judge(upscaler, samples) for samples in tqdm(sets.values(), desc=name, leave=False, disable=None))
        lines.append(f"| {name} | {' | '.join(f'{mean:.2f} / {chroma:.1f}' for mean, chroma in scores)} |")
    return "\n".join(lines)


def judge(upscaler: Upscaler, samples: ImplicitDataset) -> tuple[float, float]:
    """Mean PSNR in dB over whole pictures, and the largest chroma, of 255, that grey ones have as part of a page with
    colours (0 where no picture is grey)."""
    scores, chromas = [], [0.0]
    for index in range(len(samples)):
        lr, hr = map(to_tensor, samples.pair(index))
        scores.append(measure_pair(upscaler, lr, hr, PROTOCOL)[0]["psnr"])
        if chroma(hr) == 0:
            height, width = hr.shape[-2:]
            page = on_coloured_page(lr)
            picture = upscaler(page, (round(height * page.shape[-2] / lr.shape[-2]), width))[0, :, :height]
            chromas.append(255 * chroma(picture))
    return sum(scores) / len(scores), max(chromas)


def on_coloured_page(lr: Tensor) -> Tensor:
    """A picture (3, h, w) above a red stripe, far enough away for no encoder of small models to see it."""
    gap = lr[:, -1:].expand(-1, GAP, -1)
    stripe = lr.new_tensor([1, 0, 0])[:, None, None].expand(-1, 4, lr.shape[2])
    return torch.cat([lr, gap, stripe], dim=1)


def chroma(picture: Tensor) -> float:
    """How far the channels of (3, H, W) are apart at the most colourful pixel."""
    return (picture.amax(0) - picture.amin(0)).max().item()


if __name__ == "__main__":
    cli.run(main)
