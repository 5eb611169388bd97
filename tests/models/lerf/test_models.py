"""LeRF's models through the common interface, and the kernels they predict."""

import pytest
import torch

import models
from models.resampling.kernels import SteerableGaussian
from models.resampling.resampler import Resampler, ResamplingField
from models.upscaler import Upscaler
from tests.golden_cases import assert_close, painted
from utils.errors import InputError
from utils.geometry.grids import Grid, cell_of
from utils.geometry.homographies import Homography

X2 = {"name": "catmull-rom"}
MODELS = {
    "lerf-l": {"nf": 4},
    "lerf-g": {"nf": 4},
    "lerf-net": {"nf": 8},
    "lerf-lut": {},
    "lerf-net-plus": {"nf": 8, "upsampler_spec": X2},
}


def make(name: str, **arguments) -> models.ContinuousModel:
    torch.manual_seed(0)
    model = models.make({"name": name, "args": {**MODELS[name], **arguments}}).eval()
    if name == "lerf-lut":
        for parameter in model.parameters():
            torch.nn.init.uniform_(parameter, -40, 60)
    return model


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [(1, 1), (9, 5)])
def test_rendering_equals_sampling(name, size) -> None:
    model, image = make(name), torch.rand(2, 3, *size)
    for output in ((7, 11), size):
        grid = Grid.of_size(output)
        with torch.inference_mode():
            field = model.field(model.encode(image), cell_of(output).expand(2, 2))
            rendered = painted(model, field, grid)
            sampled = model.sample(field, grid.coord().flatten(0, 1).expand(2, -1, -1))
        assert rendered.isfinite().all()
        assert_close(rendered, sampled.transpose(1, 2).unflatten(2, output), 1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_every_parameter(name) -> None:
    model = make(name).train()
    values = model(torch.rand(2, 3, 9, 9), torch.rand(2, 60, 2) * 2 - 1, torch.full((2, 2), 0.1))
    (values - torch.rand_like(values)).square().mean().backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


def constant_field(image: torch.Tensor, *hyper: float) -> ResamplingField:
    planes = [torch.full_like(image, value) for value in hyper]
    return ResamplingField(torch.cat([image, *planes], dim=1).permute(0, 2, 3, 1), stretch=torch.ones(1, 2, 1, 1))


def test_a_wider_support_reaches_further() -> None:
    picture = torch.zeros(1, 1, 1, 8)
    picture[..., 5] = 1
    field = constant_field(picture, 0.5, 0.01, 0.01)
    near, wide = (painted(Resampler(SteerableGaussian(r)), field, Grid.of_size((1, 16)))[0, 0, 0] for r in (1, 2))
    assert (near > 0).sum() == 4
    assert (wide > 0).sum() == 8


def test_shrinking_averages() -> None:
    """At scale 1/4 every input pixel counts; without antialias most do not."""
    for antialias in (True, False):
        model = make("lerf-g", antialias=antialias)
        image = torch.rand(1, 1, 16, 16, requires_grad=True)
        features = torch.cat([image, torch.full((1, len(model.kernel.hyper_parameters), 16, 16), 0.5)], dim=1)
        latent = models.Latent(features, image)
        field = model.field(latent, cell_of((4, 4))[None])
        model.sample(field, Grid.of_size((4, 4)).coord().flatten(0, 1)[None]).sum().backward()
        assert bool((image.grad.abs() > 0).all()) == antialias


def test_net_plus_plus_is_lerf_net_on_the_enlarged_picture() -> None:
    plus, image = make("lerf-net-plus"), torch.rand(1, 3, 6, 8)
    net = models.make({"name": "lerf-net", "args": {"nf": 8}}).eval()
    net.load_state_dict({k: v for k, v in plus.state_dict().items() if not k.startswith("upsampler.")})
    enlarged = models.make(X2)
    grid, cell = Grid.of_size((24, 32)), cell_of((24, 32))[None]
    with torch.inference_mode():
        doubled = painted(
            enlarged, enlarged.field(enlarged.encode(image), cell_of((12, 16))[None]), Grid.of_size((12, 16))
        )
        expected = painted(net, net.field(net.encode(doubled.clamp(0, 1)), cell), grid)
        assert_close(painted(plus, plus.field(plus.encode(image), cell), grid), expected, 1e-5)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_net_plus_plus_warps_as_it_scales(backend) -> None:
    upscaler = Upscaler(make("lerf-net-plus"), backend=backend)
    latent = upscaler.encode(torch.rand(1, 3, 8, 10))
    for scale in ((2, 2), (0.5, 0.5)):  # shrinking, the cell map counts
        size = tuple(round(n * s) for n, s in zip((8, 10), scale, strict=True))
        grid = Homography.scaling(scale).grid((8, 10), size)
        assert grid.inside().all()
        warped = upscaler.render(latent, grid)
        assert_close(warped, upscaler.render(latent, size), 1e-4)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "lerf-g", "args": {"modes": "sx"}}, ["modes is 'sx'", "sct"]),
        ({"name": "lerf-l", "args": {"support": 3}}, ["support is 3", "2 or 4"]),
        ({"name": "lerf-l", "args": {"antialias": "no"}}, ["antialias is 'no'", "true or false"]),
        ({"name": "lerf-net", "args": {"nf": 6}}, ["nf is 6", "multiple of 4"]),
        ({"name": "lerf-lut", "args": {"kernel": "cubic"}}, ["kernel 'cubic'", "linear or gauss"]),
        ({"name": "lerf-net-plus", "args": {"upsampler_spec": {"name": "mlp", "args": {}}}}, ["mlp"]),
    ],
)
def test_wrong_specs_are_explained(spec, words) -> None:
    with pytest.raises(InputError) as caught:
        models.make(spec)
    assert all(word in str(caught.value) for word in words)
