"""Convolutions of encoders: native ones where they are possible, PyTorch's where not, and the same layers."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import models
from models import computing
from models.encoders import encode_in_chunks, rdn
from models.layers import convolution
from models.layers.convolution import Convolution, in_turn
from models.native import backends
from models.upscaler import Upscaler
from tests.golden_cases import assert_close
from tests.registered import on_encoder, small_spec
from utils.errors import InputError
from utils.geometry.neighbours import PixelWindow

ENCODERS = {
    "edsr-baseline": {"n_resblocks": 2, "n_feats": 16},
    "rdn": {"G0": 16, "RDNconfig": "tiny"},
}
needs_native = pytest.mark.skipif(backends.library("convolution") is None, reason="needs a C++ compiler")


@pytest.fixture
def calls(monkeypatch) -> list[bool]:
    """Whether each native convolution multiplied bfloat16."""
    made, original = [], convolution.convolve

    def spied(*arguments, **options) -> Tensor:
        made.append(options["bfloat16"])
        return original(*arguments, **options)

    monkeypatch.setattr(convolution, "convolve", spied)
    return made


@pytest.fixture(params=ENCODERS)
def encoder(request, monkeypatch) -> nn.Module:
    monkeypatch.setitem(rdn.CONFIGURATIONS, "tiny", (2, 2, 16))
    torch.manual_seed(0)
    return models.make({"name": request.param, "args": {**ENCODERS[request.param], "no_upsampling": True}}).eval()


def image(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def layers() -> Iterator[tuple[nn.Module, ...]]:
    torch.manual_seed(0)
    first, second = Convolution(16, 20, 3), Convolution(20, 16, 3)
    yield first, nn.ReLU(), second
    yield first, second, nn.ReLU()
    yield first, nn.LeakyReLU(0.1), second, nn.Sigmoid()


@needs_native
def test_layers_in_turn_are_the_layers(calls) -> None:
    x = image(2, 16, 9, 13)
    for chain in layers():
        with torch.no_grad():
            expected = x + 0.3 * nn.Sequential(*chain)(x)
            assert torch.equal(in_turn(chain, x), nn.Sequential(*chain)(x))
            assert_close(in_turn(chain, x, x, 0.3), expected, 1e-6)
            with backends.using("torch"):
                assert_close(in_turn(chain, x, x, 0.3), expected, 1e-6)
    assert calls == 24 * [False]


@needs_native
def test_gradients_are_pytorchs(calls) -> None:
    x = image(1, 16, 9, 13).requires_grad_()
    for chain in layers():
        in_turn(chain, x, x, 0.3).sum().backward()
        found = x.grad.clone()
        x.grad = None
        (x + 0.3 * nn.Sequential(*chain)(x)).sum().backward()
        assert torch.equal(x.grad, found)
        x.grad = None
    assert not calls


@needs_native
@pytest.mark.parametrize("shape", [(8, 16, 3), (16, 8, 3), (16, 16, 1), (16, 16, 5)])
def test_what_is_left_to_pytorch(calls, shape) -> None:
    layer, x = Convolution(*shape), image(1, shape[0], 6, 7)
    with torch.no_grad():
        assert torch.equal(layer(x), nn.Conv2d.forward(layer, x))
        layer = Convolution(16, 16, 3).double()
        assert layer(image(1, 16, 6, 7).double()).dtype == torch.float64
        assert layer.bfloat16()(image(1, 16, 6, 7).bfloat16()).dtype == torch.bfloat16
    assert not calls


@needs_native
def test_weights_are_never_stale() -> None:
    layer, x = Convolution(16, 16, 3), image(1, 16, 6, 7)
    changes = (
        lambda: layer.load_state_dict(Convolution(16, 16, 3).state_dict()),
        lambda: layer.weight.data.mul_(2),
        lambda: layer.weight.numpy().__imul__(3),
        lambda: layer.bias.add_(1),
    )
    with torch.no_grad():
        for change in changes:
            layer(x)
            change()
            assert_close(layer(x), nn.Conv2d.forward(layer, x), 2e-5)


@needs_native
def test_bfloat16(calls, monkeypatch) -> None:
    layer, x = Convolution(16, 16, 3), image(1, 16, 6, 7)
    with torch.no_grad(), computing.using("bfloat16"), computing.reduced(torch.device("cpu")):
        expected = nn.Conv2d.forward(layer, x)
        output = layer(x, skip=x.bfloat16())
        assert (output - x - expected).abs().max() < 0.02
        has_routine = convolution.multiplies_bfloat16(backends.library("convolution"))
        assert calls == has_routine * [True]
        assert layer(x.bfloat16()).dtype == (torch.float32 if has_routine else torch.bfloat16)
        monkeypatch.setattr(convolution, "multiplies_bfloat16", lambda library: False)
        assert torch.equal(layer(x), expected)


@needs_native
@pytest.mark.parametrize(("number", "backend"), [("float32", "auto"), ("float32", "torch"), ("bfloat16", "auto")])
def test_a_part_with_the_reach_around_it_is_enough(encoder, number, backend) -> None:
    """At every cut, in both directions; one pixel less is not enough."""
    whole_image = image(1, 3, 70, 73)
    differences = {encoder.reach: 0.0, encoder.reach - 1: 0.0}
    with torch.inference_mode(), backends.using(backend), computing.using(number):
        whole = encode_in_chunks(encoder, whole_image)
        for row, column in ((0, 0), (1, 2), (2, 3), (3, 1)):
            kept = PixelWindow((70, 73), 31 + row, 30 + column, 11, 9)
            for margin in differences:
                around = kept.grown(margin)
                part = kept.within(around).of(encode_in_chunks(encoder, around.of(whole_image)))
                differences[margin] = max(differences[margin], (part - kept.of(whole)).abs().max().item())
    enough, less = differences.values()
    assert enough < (1e-5 if number == "float32" else 0.05)
    assert less > 2 * enough or number == "bfloat16"


@needs_native
@pytest.mark.parametrize(("name", "count"), {"liif": 1, "lmliif": 1, "ciaosr": 2, "lte": 2, "lmlte": 2}.items())
def test_decoders_convolve_features(calls, name, count) -> None:
    torch.manual_seed(0)
    args = {"no_upsampling": True, "n_resblocks": 1, "n_feats": 16}
    model = models.make(on_encoder(name, {"name": "edsr-baseline", "args": args}, small_spec(name)["args"])).eval()
    with torch.inference_mode():
        latent = model.encode(image(1, 3, 9, 13))
        calls.clear()
        field = model.field(latent, torch.tensor([[0.1, 0.1]]))
        assert len(calls) == count
        with backends.using("torch"):
            assert_close(field.table, model.field(latent, torch.tensor([[0.1, 0.1]])).table, 2e-5)
    assert len(calls) == count


def test_backends() -> None:
    """Whatever computes, as much is encoded around a part."""
    spec = small_spec("lmliif")
    spec["args"] = {**spec["args"], "encoder_spec": {"name": "edsr-baseline", "args": {"no_upsampling": True}}}
    model = models.make(spec).eval()
    assert Upscaler(model, backend="torch").context == Upscaler(model).context == model.encoder.reach
    with backends.using("unknown"), torch.no_grad(), pytest.raises(InputError, match="unknown backend"):
        Convolution(16, 16, 3)(image(1, 16, 4, 4))
