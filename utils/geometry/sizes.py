"""Scales and output sizes, without tensors: programs use them before PyTorch is imported."""

import math
import re
from collections.abc import Sequence

from utils.errors import InputError

Size = tuple[int, int]
Scale = tuple[float, float]

LARGEST_OUTPUT = 2**30  # pixels: 12 GB as float32, 3 GB more as 8-bit RGB


def parse_scale(value: float | str | Sequence[float]) -> Scale:
    """(height factor, width factor) of 2.5, [3, 1.5] or the text `3x1.5`, also `2x`, `x2` and `200%`; InputError for
    anything else."""
    parts = value
    if isinstance(value, str):
        parts = [part for part in _with_cross(value).split("x") if part] or [value]
        parts = [float(part[:-1]) / 100 if part[:-1].isdecimal() and part[-1] == "%" else part for part in parts]
    try:
        factors = [float(part) for part in (parts if isinstance(parts, Sequence) else [parts])]
    except (TypeError, ValueError):
        factors = []
    if len(factors) not in (1, 2) or not all(0 < factor < math.inf for factor in factors):
        raise InputError(f"expected a number above 0 such as 2.5, or HEIGHTxWIDTH such as 3x1.5, not '{value}'")
    return factors[0], factors[-1]


def scale_text(factors: Scale) -> str:
    """The inverse of `parse_scale`: `2.5`, `3x1.5`."""
    return f"{factors[0]:g}" if factors[0] == factors[1] else f"{factors[0]:g}x{factors[1]:g}"


def output_size(size: Size, scale: Scale) -> Size:
    """(H, W) of an (h, w) picture enlarged by `scale` = (height factor, width factor), rounded half up, at least 1."""
    for factor in scale:
        if not (math.isfinite(factor) and factor > 0):
            raise InputError(f"scale {factor:g} is not possible; give a number above 0")
    # A finite number that no possible output reaches
    height, width = (
        max(1, math.floor(min(n * factor, LARGEST_OUTPUT + 1) + 0.5)) for n, factor in zip(size, scale, strict=True)
    )
    return check_output_size((height, width))


def is_enlarged(size: Size, output_size: Size) -> bool:
    """Whether an output (H, W) is larger than the picture (h, w) along an axis, and along none smaller."""
    return size != output_size and all(n <= side for n, side in zip(size, output_size, strict=True))


def check_output_size(size: Size) -> Size:
    """`size`, or InputError when a side is below 1 or the picture would not fit any memory."""
    if min(size) < 1 or size[0] * size[1] > LARGEST_OUTPUT:
        raise InputError(
            f"an output of {size[1]}x{size[0]} pixels is not possible; sides from 1, at most {LARGEST_OUTPUT} pixels"
        )
    return size


def check_window(size: Size, top: int, left: int, window: Size) -> None:
    """InputError unless a `window` (H, W) from row `top` and column `left` on lies within `size`."""
    if min(top, left) < 0 or min(window) < 1 or top + window[0] > size[0] or left + window[1] > size[1]:
        raise InputError(
            f"a window of {window[1]}x{window[0]} pixels from ({left}, {top}) on is not within {size[1]}x{size[0]}"
        )


Sides = tuple[int | None, int | None]


def _with_cross(text: str) -> str:
    """What people type between two numbers as an x."""
    return re.sub(r" *[x*\u00d7] *", "x", text.strip().lower())


NOTICED_STRETCH = 1.02  # of one axis against the other; rounding to whole pixels is no stretching


def parse_sides(text: str) -> Sides:
    """`1920x1080` (width x height), `1920x`, `1920` or `x1080` -> (H, W), None where a side follows from the other;
    InputError for anything else."""
    width, _, height = _with_cross(text).partition("x")
    sides = (height, width)
    if not any(sides) or not all(side == "" or (side.isdecimal() and int(side) > 0) for side in sides):
        raise InputError(f"expected WIDTHxHEIGHT such as 1920x1080, 1920x or x1080, not '{text}'")
    return tuple(int(side) if side else None for side in sides)


def size_of_sides(size: Size, sides: Sides) -> Size:
    """The size of an (h, w) picture with `sides`, its proportions kept where one is None."""
    scales = [side / n for side, n in zip(sides, size, strict=True) if side]
    height, width = output_size(size, (scales[0], scales[-1]))
    return sides[0] or height, sides[1] or width


def size_within(size: Size, box: Size) -> Size:
    """The largest size of an (h, w) picture that fits into a box."""
    factor = min(side / n for side, n in zip(box, size, strict=True))
    return output_size(size, (factor, factor))


def size_around(size: Size, box: Size) -> Size:
    """The smallest size of an (h, w) picture that fills a box."""
    factor = max(side / n for side, n in zip(box, size, strict=True))
    return tuple(max(pair) for pair in zip(output_size(size, (factor, factor)), box, strict=True))


def size_of_area(size: Size, megapixels: float) -> Size:
    """The size of an (h, w) picture with so many million pixels."""
    factor = math.sqrt(megapixels * 1e6 / (size[0] * size[1]))
    return output_size(size, (factor, factor))


def stretch_notice(size: Size, target: Size) -> str | None:
    """A line for a picture whose proportions change from `size` to `target`."""
    tall, wide = (side / n for side, n in zip(target, size, strict=True))
    if max(tall / wide, wide / tall) < NOTICED_STRETCH or abs(target[0] - size[0] * wide) < 1:
        return None
    return f"stretched: {wide:.3g} times as wide, {tall:.3g} times as high; --fit keeps the proportions"


def rotated_size(size: Size, degrees: float, scale: Scale = (1, 1)) -> Size:
    """(H, W) that holds all of an (h, w) picture enlarged by `scale` and turned."""
    height, width = (min(n * factor, LARGEST_OUTPUT + 1) for n, factor in zip(size, scale, strict=True))
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    fitting = (math.ceil(round(side, 6)) for side in (height * cosine + width * sine, width * cosine + height * sine))
    return check_output_size(tuple(max(1, side) for side in fitting))
