"""Native convolutions are PyTorch's up to rounding, and those of a part of a picture are the whole's, bit for bit."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.native import backends
from models.native.convolution import convolve, lay_out
from tests.models.native.cases import examples

pytestmark = pytest.mark.skipif(backends.library("convolution") is None, reason="needs a C++ compiler")

SIDES = st.sampled_from([1, 2, 3, 4, 5, 8, 11, 26])
CHANNELS = st.sampled_from([1, 2, 3, 15, 16, 17, 32, 40, 64, 71])


def library() -> backends.Library:
    return backends.library("convolution")


def bfloat16() -> bool:
    return "convolve_bfloat16" in library().routines


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def of_order(image: Tensor, order: str) -> Tensor:
    """The same values, elsewhere in memory."""
    if order == "strided":
        return F.pad(image, (1, 2, 1, 0))[:, :, 1:, 1:-2]
    return image.contiguous(memory_format=torch.channels_last if order == "last" else torch.contiguous_format)


@examples(60)
@given(
    size=st.tuples(SIDES, SIDES),
    batch=st.integers(1, 2),
    channels=st.tuples(CHANNELS, CHANNELS),
    order=st.sampled_from(["last", "last", "first", "strided"]),
    has=st.tuples(st.booleans(), st.booleans()),
    slope=st.sampled_from([0.0, 0.2, 1.0]),
    seed=st.integers(0, 1000),
)
def test_native_equals_portable(size, batch, channels, order, has, slope, seed) -> None:
    inputs, outputs = channels
    image = of_order(random(seed, batch, inputs, *size), order)
    weight = of_order(random(seed + 1, outputs, inputs, 3, 3) / (9 * inputs) ** 0.5, order)
    bias = random(seed + 2, outputs) if has[0] else None
    skip = of_order(random(seed + 3, batch, outputs, *size), order) if has[1] else None
    expected = F.conv2d(image.double(), weight.double(), None if bias is None else bias.double(), padding=1)
    # Rounding is that of what the transforms sum, also where the output is small by chance
    summed = float(image.abs().max() * weight.abs().sum((1, 2, 3)).max())
    spread = max(float(expected.abs().max()), 0.05 * summed)
    expected = F.leaky_relu(expected, slope)
    expected = expected if skip is None else expected * 0.3 + skip
    options = {"slope": slope, "skip": skip, "scale": 0.3}
    for rounded, tolerance in ((False, 1e-5), *(((True, 0.1),) if bfloat16() else ())):
        output = convolve(library(), image, weight, bias, bfloat16=rounded, **options)
        assert output.shape == expected.shape
        assert output.is_contiguous(memory_format=torch.channels_last)
        assert (output - expected).abs().max() <= tolerance * spread


def test_errors_are_small() -> None:
    """Of the range of outputs, with as many numbers as an encoder's layer."""
    image, weight = random(0, 1, 64, 40, 40), random(1, 64, 64, 3, 3) / 24
    expected = F.conv2d(image.double(), weight.double(), padding=1)
    spread = expected.max() - expected.min()
    assert (convolve(library(), image, weight, None) - expected).abs().max() < 3e-6 * spread
    if bfloat16():
        assert (
            1e-3 * spread
            < (convolve(library(), image, weight, None, bfloat16=True) - expected).abs().max()
            < 0.02 * spread
        )


def test_nan_is_passed_on() -> None:
    image, weight = random(0, 1, 16, 12, 12), random(1, 16, 16, 3, 3)
    image[0, 3, 5, 5] = torch.nan
    for rounded in (False, True)[: 1 + bfloat16()]:
        for slope in (0.0, 1.0):
            output = convolve(library(), image, weight, None, slope=slope, bfloat16=rounded)
            assert output[0, :, 4:7, 4:7].isnan().all()
            assert output[0, :, 8:, 8:].isfinite().all()
        weight[2, 0, 0, 0] = torch.nan
        assert convolve(library(), image, weight, None, bfloat16=rounded)[0, 2].isnan().all()
        weight[2, 0, 0, 0] = 0


@pytest.mark.parametrize("shape", [(0, 16, 5, 5), (1, 16, 0, 5), (2, 16, 5, 0), (1, 0, 3, 2)])
def test_empty_pictures(shape) -> None:
    bias = random(1, 17)
    output = convolve(library(), torch.zeros(shape), random(0, 17, shape[1], 3, 3), bias)
    assert torch.equal(output, bias[:, None, None].expand(shape[0], 17, *shape[2:]))


def test_what_is_impossible() -> None:
    image, weight, bias = random(0, 1, 16, 5, 5), random(1, 16, 16, 3, 3), random(2, 16)
    for wrong in (
        {"image": image[0]},
        {"image": image[:, :15]},
        {"image": image.double()},
        {"weight": random(1, 16, 16, 5, 5)},
        {"weight": weight.double()},
        {"bias": bias[:3]},
        {"bias": bias.double()},
        {"skip": image[:, :, :4]},
    ):
        with pytest.raises(ValueError, match=r"shape|torch\.float64"):
            convolve(library(), **({"image": image, "weight": weight, "bias": bias} | wrong))
    laid_out, output = lay_out(library(), weight), torch.empty(5, 5, 16)
    for sizes in ((-1, 5, 5, 16, 16), (1, 5, 1 << 40, 16, 16)):
        with pytest.raises(ValueError, match="size"):
            library().call("convolve", image, laid_out, None, None, output, *sizes, 0, 1.0, 1)
