"""Output sizes as people ask for them."""

import pytest

from utils.errors import InputError
from utils.geometry.sizes import (
    check_output_size,
    is_enlarged,
    output_size,
    parse_scale,
    parse_sides,
    rotated_size,
    scale_text,
    size_around,
    size_of_area,
    size_of_sides,
    size_within,
    stretch_notice,
)


@pytest.mark.parametrize(
    ("size", "text", "expected"),
    [((267, 400), "1920x1080", (1080, 1920)), ((267, 400), "1920x", (1282, 1920)), ((267, 400), "x1080", (1080, 1618)),
     ((267, 400), "301X", (201, 301)), ((100, 200), "x50", (50, 100)), ((100, 200), "50", (25, 50)),
     ((100, 200), "50x7", (7, 50))],
)  # fmt: skip
def test_sides(size, text, expected) -> None:
    assert size_of_sides(size, parse_sides(text)) == expected


@pytest.mark.parametrize("text", ["x", "", "-10", "0x5", "5x0", "-1x5", "1.5x", "1x2x3"])
def test_texts_that_are_no_sides(text) -> None:
    with pytest.raises(InputError, match="WIDTHxHEIGHT"):
        parse_sides(text)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [((10, 20), (2, 2), (20, 40)), ((10, 20), (3, 1.5), (30, 30)), ((3, 3), (0.1, 0.5), (1, 2)),
     ((5, 5), (2.5, 1), (13, 5))],
)  # fmt: skip
def test_output_size(size, scale, expected) -> None:
    assert output_size(size, scale) == expected


@pytest.mark.parametrize("scale", [(0, 1), (-1, 1), (float("nan"), 1), (float("inf"), 1), (1e9, 1e9)])
def test_impossible_scales(scale) -> None:
    with pytest.raises(InputError):
        output_size((10, 10), scale)


@pytest.mark.parametrize("size", [(267, 400), (400, 267), (7, 1000), (333, 333)])
@pytest.mark.parametrize("box", [(1080, 1920), (99, 101), (50, 50)])
def test_boxes_are_met_exactly(size, box) -> None:
    within, around = size_within(size, box), size_around(size, box)
    assert all(a <= b <= c for a, b, c in zip(within, box, around, strict=True))
    assert within[0] == box[0] or within[1] == box[1]
    assert around[0] == box[0] or around[1] == box[1]
    for height, width in (within, around):
        exact = max(1, size[0] * width / size[1]), max(1, size[1] * height / size[0])
        assert min(abs(height - exact[0]), abs(width - exact[1])) <= 0.5


def test_area() -> None:
    height, width = size_of_area((300, 400), 12)
    assert height * width == pytest.approx(12e6, rel=1e-3)
    assert width / height == pytest.approx(4 / 3, rel=1e-3)


def test_stretching_is_said() -> None:
    assert stretch_notice((64, 48), (10, 500)).startswith("stretched: 10.4 times as wide, 0.156 times as high")
    assert stretch_notice((64, 48), (128, 96)) is None
    assert stretch_notice((3, 1000), (1, 400)) is None  # a whole number of rows is as near as it gets
    assert stretch_notice((667, 1000), (1080, 1620)) is None


def test_scales_are_read_as_they_are_written() -> None:
    for factors in ((2.5, 2.5), (3.0, 1.5), (0.1, 40.0)):
        assert parse_scale(scale_text(factors)) == factors
    for text in ("2x", "x2", "200%", "2*2", "2 x 2", "2X"):  # as people type them
        assert parse_scale(text) == (2, 2)
    assert parse_scale("150%") == (1.5, 1.5)
    for text in ("inf", "2xinf", "1x2x3", "0", "-1", "nan", "x", "%", "x%", "1.5%", "5a%"):
        with pytest.raises(InputError, match=r"above 0.*HEIGHTxWIDTH"):
            parse_scale(text)


def test_the_largest_output_is_an_area() -> None:
    assert check_output_size((1 << 15, 1 << 15)) == (1 << 15, 1 << 15)
    for size in ((1 << 15, (1 << 15) + 1), (0, 5), (5, 0)):
        with pytest.raises(InputError, match="is not possible"):
            check_output_size(size)


def test_larger_along_one_axis_and_smaller_along_none() -> None:
    assert is_enlarged((5, 7), (5, 8))
    assert not is_enlarged((5, 7), (5, 7))
    assert not is_enlarged((5, 7), (4, 14))


def test_turned_pictures_that_no_output_can_hold_are_refused() -> None:
    with pytest.raises(InputError, match="pixels"):
        rotated_size((2, 3), 0, (1e300, 1e-300))
