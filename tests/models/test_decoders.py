"""Decoders: specs that are refused, batches and cell maps in all, and what is special in single ones."""

import pytest
import torch

import models
from models.decoders import metasr, subpixel
from models.layers.cross_scale_attention import CROP, CrossScaleAttention, spans
from models.upscaler import Upscaler
from tests.conftest import SMALL_LMLIIF
from tests.golden_cases import assert_close, painted
from tests.registered import DECODERS, small_spec
from utils.config import merge
from utils.errors import InputError
from utils.geometry.grids import Grid, cell_of
from utils.geometry.neighbours import PixelWindow
from utils.registry import Registry


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "lmlif"}, ["lmlif", "did you mean 'lmliif'"]),
        ({"name": "lmliif", "args": {**SMALL_LMLIIF["args"], "feat_unfod": True}}, ["feat_unfod", "'feat_unfold'"]),
        ({"name": "lmliif", "args": {}}, ["lmliif", "encoder_spec"]),
        ({"args": {}}, ["name"]),
        (
            {"name": "liif", "args": {"encoder_spec": {"name": "edsr-baseline", "args": {"no_upsampling": True}}}},
            ["upsampl"],
        ),
        ({"name": "edsr-baseline", "args": {"scale": 5}}, ["scale 5"]),
        (merge(small_spec("lmciaosr"), {"args": {"local_size": 3}}), ["local_size is 3"]),
        (merge(small_spec("lmciaosr"), {"args": {"feat_unfold": False}}), ["feat_unfold"]),
        ({"name": "lmmlp", "args": {"in_dim": 4, "mod_scale": False, "mod_shift": False}}, ["mod_scale", "mod_shift"]),
    ],
)
def test_wrong_specs_are_explained(spec, words) -> None:
    with pytest.raises(InputError) as caught:
        models.make(spec)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_registry_rejects_duplicates() -> None:
    registry = Registry("thing")
    registry.register("one")(dict)
    with pytest.raises(KeyError, match="one"):
        registry.register("one")(list)


@pytest.mark.parametrize(("out_dim", "refused"), [(7, True), (16 * 3 * 2 + 16, False), (208, False)])
def test_sizes_that_follow_may_only_be_stated_as_they_are(out_dim, refused) -> None:
    """208 is what published specs state for every latent MLP, whatever it is."""
    latent_mlp = {"name": "mlp", "args": {"out_dim": out_dim, "hidden_list": [24]}}
    spec = {"name": "lmliif", "args": {**SMALL_LMLIIF["args"], "hypernet_spec": latent_mlp}}
    if refused:
        with pytest.raises(InputError, match="out_dim is 7, but 112 follows"):
            models.make(spec)
    else:
        assert models.make(spec).hypernet.layers[-1].out_features == 16 * 3 * 2 + 16


def test_lr_skip_adds_the_bilinear_picture() -> None:
    torch.manual_seed(0)
    with_skip = models.make(SMALL_LMLIIF).eval()
    without = models.make({"name": "lmliif", "args": {**SMALL_LMLIIF["args"], "lr_skip": False}}).eval()
    without.load_state_dict(with_skip.state_dict())
    image, coord, cell = torch.rand(1, 3, 6, 7), torch.rand(1, 30, 2) * 2 - 1, torch.full((1, 2), 0.1)
    bilinear = models.make({"name": "bilinear"})
    with torch.inference_mode():
        expected = without(image, coord, cell) + bilinear(image, coord, cell)
        assert_close(with_skip(image, coord, cell), expected, 1e-5)


@pytest.mark.parametrize("size", [(97, 131), (1, 1), (1, 50), (5, 3)])
@pytest.mark.parametrize("scale", [2, 3])
def test_non_local_features_cover_every_size(size, scale) -> None:
    torch.manual_seed(0)
    attention = CrossScaleAttention(8, [scale]).eval()
    with torch.inference_mode():
        features = attention(torch.randn(1, 8, *size))
    assert features.shape == (1, 8, *size)
    assert torch.isfinite(features).all()
    blocks = torch.nn.functional.avg_pool2d(features.abs(), 4, ceil_mode=True)
    assert (blocks.amax(1) > 1e-4).all()


def test_crops_take_the_remainder_and_see_one_pixel_of_context() -> None:
    assert spans(CROP - 1) == [slice(0, CROP - 1)]
    assert spans(2 * CROP + 5) == [slice(0, CROP), slice(CROP, 2 * CROP + 5)]
    torch.manual_seed(0)
    attention, features = CrossScaleAttention(8).eval(), torch.randn(1, 8, 20, 2 * CROP)
    with torch.inference_mode():
        whole = attention(features)
        assert_close(whole[..., :CROP], attention._crop(features[..., : CROP + 1], slice(0, 20), slice(0, CROP)), 1e-5)
        beyond = features.clone()
        beyond[..., CROP + 1 :] += 1
        assert_close(attention(beyond)[..., :CROP], whole[..., :CROP], 1e-6)
        beyond[..., CROP] += 1
        assert (attention(beyond)[..., :CROP] - whole[..., :CROP]).abs().max() > 1e-4


@pytest.mark.parametrize("scale", [(2.5, 2.5), (3.3, 1.7)])
def test_metasr_shares_filters_without_changing_the_picture(monkeypatch, scale) -> None:
    torch.manual_seed(0)
    model = models.make(small_spec("metasr")).eval()
    image, size = torch.rand(2, 3, 10, 13), (round(10 * scale[0]), round(13 * scale[1]))
    with torch.inference_mode():
        field = model.field(model.encode(image), cell_of(size).expand(2, 2))
        shared = painted(model, field, Grid.of_size(size))
        monkeypatch.setattr(metasr, "MOST_FILTERS", 0)
        assert_close(shared, painted(model, field, Grid.of_size(size)), 1e-4)


@pytest.mark.parametrize("name", DECODERS)
def test_batches_and_cell_maps(name) -> None:
    torch.manual_seed(0)
    model = models.make(small_spec(name)).eval()
    image, coord = torch.rand(3, 3, 7, 9), torch.rand(3, 30, 2) * 2 - 1
    cell = torch.tensor([[0.1, 0.2], [0.15, 0.1], [0.05, 0.05]])
    with torch.inference_mode():
        together = model(image, coord, cell)
        cell_map = cell[:, :, None, None].expand(-1, -1, 7, 9)
        assert_close(model(image, coord, cell_map), together, 1e-5)
        for i in range(3):
            assert_close(model(image[i : i + 1], coord[i : i + 1], cell[i : i + 1]), together[i : i + 1], 1e-5)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *[
            (name, change)
            for name in ("ciaosr", "lmciaosr")
            for change in ({"non_local_attn": False}, {"multi_scale": [2, 3]})
        ],
        ("ciaosr", {"feat_unfold": False}),
        ("lmciaosr", {"mod_input": False}),
    ],
)
def test_attention_variants_render(name, arguments) -> None:
    model = models.make(merge(small_spec(name), {"args": arguments})).eval()
    assert Upscaler(model)(torch.rand(3, 8, 9), (20, 21)).shape == (1, 3, 20, 21)


def test_sub_pixel_colours_are_read_by_the_filter_that_paints() -> None:
    torch.manual_seed(0)
    model = models.make(small_spec("subpixel")).eval()
    coord = torch.rand(1, 200, 2) * 2 - 1
    with torch.inference_mode():
        field = model.field(model.encode(torch.rand(1, 3, 7, 5)), cell_of((20, 20))[None])
        assert field.table.shape == (1, 28, 20, 3)
        assert_close(model.sample(field, coord), model.filter.sample(field, coord), 1e-5)


def test_sub_pixel_bands_and_parts_are_those_of_the_whole(monkeypatch) -> None:
    torch.manual_seed(0)
    upscaler = Upscaler(models.make(small_spec("subpixel")).eval())
    picture, grid = torch.rand(1, 3, 40, 30), Grid.of_size((110, 90))
    whole = upscaler(picture, grid)
    monkeypatch.setattr(subpixel, "BAND_BYTES", 1)
    assert_close(upscaler(picture, grid), whole, 1e-5)
    assert_close(upscaler(picture, grid.window(31, 44, (20, 25))), whole[:, :, 31:51, 44:69], 1e-5)
    pixels = PixelWindow((40, 30), 5, 0, 30, 24)
    part = upscaler.encode_part(pixels.of(picture), pixels)
    assert_close(upscaler.render(part, grid.window(45, 0, (20, 30))), whole[:, :, 45:65, :30], 1e-5)
