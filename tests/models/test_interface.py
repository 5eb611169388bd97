"""The Python interface: shapes, registry errors, gradients."""

import pytest
import torch

import models
from tests.conftest import SMALL_LMLIIF
from tests.golden_cases import assert_close
from utils.errors import InputError
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
