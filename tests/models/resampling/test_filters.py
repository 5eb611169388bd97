"""The fixed filters against PyTorch's and Pillow's own."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import models
from evaluation.protocols import find_protocol
from models.upscaler import Upscaler
from pictures.reading import read_rgb
from pictures.tensors import resize_bicubic, to_tensor
from tests.golden_cases import FOLDER, assert_close, painted
from utils.geometry.grids import Grid, cell_of


def render(name: str, image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    model = models.make({"name": name})
    field = model.field(model.encode(image), cell_of(size).expand(len(image), 2))
    return painted(model, field, Grid.of_size(size))


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(22, 33), (37, 29), (11, 13), (90, 14)])
def test_enlarging_equals_pytorch(name, size) -> None:
    image = torch.rand(2, 3, 11, 13)
    expected = F.interpolate(image, size, mode=name, align_corners=False)
    assert_close(render(name, image, size), expected, 1e-4)


@pytest.mark.parametrize(
    ("name", "pillow"), [("bilinear", "BILINEAR"), ("catmull-rom", "BICUBIC"), ("lanczos", "LANCZOS")]
)
def test_interior_of_a_reduction_equals_pillow(name, pillow) -> None:
    pixels = np.random.default_rng(0).random((60, 50), dtype=np.float32)
    reduced = np.array(Image.fromarray(pixels).resize((20, 24), getattr(Image.Resampling, pillow)))
    ours = render(name, torch.from_numpy(pixels).expand(1, 3, -1, -1), (24, 20))[0, 0]
    assert_close(ours[4:-4, 4:-4], torch.from_numpy(reduced)[4:-4, 4:-4], 1e-4)  # Pillow does not replicate the border


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "catmull-rom", "lanczos"])
def test_scale_one_and_flat_pictures_are_kept(name) -> None:
    image = torch.rand(1, 3, 9, 7)
    assert_close(render(name, image, (9, 7)), image, 1e-5)
    flat = torch.full((1, 3, 5, 6), 0.3)
    assert_close(render(name, flat, (13, 4)), torch.full((1, 3, 13, 4), 0.3), 1e-6)


def test_stretch_may_vary_over_the_picture() -> None:
    """With a cell map each position uses the stretch of its own LR pixel."""
    model = models.make({"name": "bilinear"})
    image, grid = torch.rand(1, 3, 8, 8), Grid.of_size((4, 4))
    cell_map = torch.full((1, 2, 8, 8), 0.5)
    cell_map[..., 4:] = 0.25
    mixed = painted(model, model.field(image_latent := model.encode(image), cell_map), grid)
    coarse = painted(model, model.field(image_latent, torch.tensor([[0.5, 0.5]])), grid)
    fine = painted(model, model.field(image_latent, torch.tensor([[0.25, 0.25]])), grid)
    assert_close(mixed, torch.cat([coarse[..., :2], fine[..., 2:]], dim=-1) * 1.0, 1e-5)
    assert (coarse - fine).abs().max() > 0.01


SET5 = json.loads((FOLDER / "bicubic_set5_metrics.json").read_text())


@pytest.mark.parametrize(("scale", "names"), [
    *((scale, names) for scale, names in zip(SET5, pairwise([*SET5["2"], *SET5["2"]]), strict=False)),
    *(pytest.param(scale, [*SET5["2"]], marks=pytest.mark.thorough) for scale in SET5),
])  # fmt: skip
def test_bicubic_scores_on_set5(shared, scale, names) -> None:
    expected, scale = SET5[scale], int(scale)
    bicubic = Upscaler(models.make({"name": "bicubic"}))
    for name, scores in ((name, expected[name]) for name in names):
        hr = read_rgb(shared / "data/Set5/HR" / name)
        size = tuple(side // scale for side in hr.shape[:2])
        hr = hr[: size[0] * scale, : size[1] * scale]
        picture = bicubic(to_tensor(resize_bicubic(hr, size)), hr.shape[:2])[0]
        for golden, protocol in {"benchmark": "benchmark", "div2k": "div2k", "all": "rgb"}.items():
            measured = find_protocol(protocol).measure(picture, to_tensor(hr), (scale, scale))["psnr"]
            assert measured == pytest.approx(scores[golden], abs=0.002)
