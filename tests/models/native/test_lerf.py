"""LeRF's LUT stages by native routines give exactly what PyTorch gives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.lerf import PATTERNS
from models.native import backends
from models.native.lerf import lay_out, table_stage, write_values
from tests.models.native.cases import KERNELS, examples, make, with_tables

pytestmark = pytest.mark.skipif(backends.library("lerf") is None, reason="needs a C++ compiler")


@examples(50)
@given(
    kernel=KERNELS,
    modes=st.sampled_from(["s", "c", "t", "sc", "ts", "sct"]),
    batch=st.integers(1, 2),
    size=st.tuples(st.integers(1, 36), st.integers(1, 80) | st.integers(120, 140)),
    smooth=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_stages_are_exact(kernel, modes, batch, size, smooth, seed) -> None:
    torch.manual_seed(seed)
    model = with_tables(kernel, modes, 8 if smooth else 127)
    picture = torch.rand(batch, 3, *size)
    if smooth:  # equal and nearly equal fractions, and sums that are not clipped
        picture = picture * 0.02 + 0.5
    with torch.inference_mode():
        with backends.using("native"):
            features = model.encode(picture).features
        with backends.using("torch"):
            assert torch.equal(features, model.encode(picture).features)


@pytest.mark.parametrize("value", [-127, 127])
def test_the_largest_sums_are_exact(value) -> None:
    model = with_tables("gauss", "sct", 1)
    for table in model.parameters():
        table.data.fill_(value)
    picture = torch.rand(1, 3, 6, 9)
    with torch.inference_mode():
        with backends.using("native"):
            features = model.train().encode(picture).features
        with backends.using("torch"):
            assert torch.equal(features, model.encode(picture).features)


def test_a_changed_lut_is_laid_out_again() -> None:
    """In place by an optimiser, and as another tensor."""
    model, picture = make("linear"), torch.rand(1, 3, 9, 8)
    torch.manual_seed(0)
    results = []
    with torch.no_grad():
        for change in (
            lambda lut: lut.add_(torch.randint(0, 60, lut.shape)),
            lambda lut: lut.mul_(0.5),
            lambda lut: setattr(lut, "data", torch.randint(0, 60, lut.shape).float()),
        ):
            change(model.s1_sr0)
            with backends.using("native"):
                results.append(model.encode(picture).features)
            entries = model.laid_out(backends.library("lerf"), 1, [model.s1_sr0, model.s1_sr0])
            assert model.laid_out(backends.library("lerf"), 1, [model.s1_sr0, model.s1_sr0]) is entries
            with backends.using("torch"):
                assert torch.equal(results[-1], model.encode(picture).features)
        model.train().s1_sr0.data.zero_()  # as fused optimisers change it: uncounted
        with backends.using("native"):
            results.append(model.eval().encode(picture).features)
    assert not torch.equal(results[0], results[1])
    assert not torch.equal(results[2], results[3])


def test_wrong_arrays_are_refused() -> None:
    levels, table = torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(17**4, 1)
    library = backends.library("lerf")
    entries = lay_out(library, [table])
    for wrong in ([table[:5]], [torch.zeros(17**4, 2)], [table, torch.zeros(17**4, 3)]):
        with pytest.raises(ValueError, match=r"expected|1 or 3 values"):
            lay_out(library, wrong)
    far = [(0, 0), (0, 2**30), (2**30, 0), (2**30, 2**30)]
    for words, picture, luts, patterns, divisor in (
        ("expected", levels.float(), entries, [PATTERNS["s"]], 16),
        ("1 or 3 values", levels, entries[:, :5], [PATTERNS["s"]], 16),
        ("no LUT for each", levels, entries.expand(2, -1).contiguous(), [PATTERNS["s"]] * 3, 16),
        ("contiguous", levels.expand(3, 4, 4).transpose(1, 2)[:, :, :3], entries, [PATTERNS["s"]], 16),
        ("too far", levels, entries, [far], 16),
        ("divisor", levels, entries, [PATTERNS["s"]], 0),
        ("no pixels", levels[:, :0], entries, [PATTERNS["s"]], 16),
        ("no pixels", levels[:, :, :0], entries, [PATTERNS["s"]], 16),
    ):
        with pytest.raises(ValueError, match=words):
            table_stage(library, picture, luts, patterns, divisor, 0)
    assert table_stage(library, levels.new_zeros(0, 4, 5), entries, [PATTERNS["s"]], 16, 0).shape == (1, 0, 4, 5)
    with pytest.raises(ValueError, match="holds NaN"):
        lay_out(library, [table * torch.nan])
    with pytest.raises(ValueError, match="expected"):
        write_values(library, levels, torch.zeros(1, 4, 5))


@pytest.mark.parametrize("kernel", ["gauss", "linear"])
def test_pixels_that_are_nan_stay_nan(kernel) -> None:
    """In all that reads them, and nowhere else; values beyond 0..1 are clipped."""
    model, picture = with_tables(kernel, "sct", 90), torch.rand(2, 3, 20, 16) * 3 - 1
    broken = picture.clone()
    broken[0, 1, 9, 8] = torch.nan
    with torch.inference_mode():
        with backends.using("native"):
            native_features, whole = (model.encode(image).features for image in (broken, picture))
        with backends.using("torch"):
            features = model.encode(broken).features
    torch.testing.assert_close(native_features, features, rtol=0, atol=0, equal_nan=True)
    unread = ~features.isnan()
    assert torch.equal(whole[unread], features[unread])
    assert 0 < int((~unread).sum()) < features[0].numel() / 3
    assert bool(features[0, 1, 9, 8].isnan())
