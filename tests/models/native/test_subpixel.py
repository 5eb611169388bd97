"""The native sub-pixel picture is PyTorch's: at any size, scale, factor and window; impossible taps are refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import models
from models.native import backends
from models.native.resampler import paint_subpixel
from models.upscaler import Upscaler
from tests.golden_cases import assert_close
from tests.models.native.cases import examples
from tests.registered import small_spec
from utils.config import merge
from utils.geometry.grids import Grid

pytestmark = pytest.mark.skipif(backends.library("subpixel") is None, reason="needs a C++ compiler")

SIZES = st.tuples(st.integers(1, 23), st.integers(1, 37))


@examples(60)
@given(size=SIZES, batch=st.integers(1, 2), factor=st.sampled_from([1, 2, 3, 4, 5]), seed=st.integers(0, 1000))
def test_grids(size, batch, factor, seed) -> None:
    torch.manual_seed(seed)
    changes = {"args": {"factor": factor, "hypernet_spec": {"args": {"out_dim": 3 * factor**2}}}}
    model = models.make(merge(small_spec("subpixel"), changes)).eval()
    native, portable = (Upscaler(model, backend=backend, safeguards=False) for backend in ("native", "torch"))
    full = tuple(int(n * (1 + 5 * torch.rand(()))) for n in size)
    top, left = (int(torch.randint(0, n, ())) for n in full)
    pictures = torch.rand(batch, 3, *size)
    for grid in (Grid.of_size(full), Grid.of_size(full).window(top, left, (full[0] - top, full[1] - left))):
        assert_close(native(pictures, grid), portable(pictures, grid), 1e-5)


def test_an_output_of_any_strides() -> None:
    library, taps = backends.library("subpixel"), (torch.zeros(4, 6, dtype=torch.int32), torch.full((4, 6), 0.25))
    plain, turned = torch.empty(1, 3, 6, 6), torch.empty(1, 6, 6, 3).permute(0, 3, 1, 2)
    details, image = torch.rand(1, 12, 3, 3), torch.rand(1, 3, 5, 5)
    for output in (plain, turned):
        paint_subpixel(library, details, image, 2, (taps, taps), output)
    assert torch.equal(plain, turned)
    expected = (
        details[0, ::4, 0, 0] + torch.nn.functional.interpolate(image, scale_factor=2, mode="bilinear")[0, :, 2, 2]
    )
    assert_close(plain[0, :, 3, 3], expected, 1e-6)


@pytest.mark.parametrize("index", [-1, 6, 2**31 - 1])
def test_taps_outside_are_refused(index) -> None:
    library, inside = backends.library("subpixel"), (torch.zeros(4, 2, dtype=torch.int32), torch.ones(4, 2))
    outside = torch.full((4, 2), index, dtype=torch.int32), torch.ones(4, 2)
    arrays, output = (torch.rand(1, 12, 3, 3), torch.rand(1, 3, 5, 5), 2), torch.empty(1, 3, 2, 2)
    for taps in ((inside, outside), (outside, inside)):
        with pytest.raises(ValueError, match="outside"):
            paint_subpixel(library, *arrays, taps, output)


@pytest.mark.parametrize("image", [(1, 3, 5, 6), (1, 3, 1, 1), (2, 3, 5, 5), (1, 2, 5, 5)])
def test_other_shapes_are_refused(image) -> None:
    taps = torch.zeros(4, 2, dtype=torch.int32), torch.ones(4, 2)
    with pytest.raises(ValueError, match="expected"):
        paint_subpixel(
            backends.library("subpixel"), torch.rand(1, 12, 3, 3), torch.rand(image), 2, (taps, taps),
            torch.empty(1, 3, 2, 2),
        )  # fmt: skip
