"""Output sizes as people ask for them."""

import math

from utils.errors import InputError
from utils.geometry.scales import LARGEST_OUTPUT, Scale, Size, check_output_size, output_size

Sides = tuple[int | None, int | None]
NOTICED_STRETCH = 1.02  # of one axis against the other; rounding to whole pixels is no stretching


def parse_sides(text: str) -> Sides:
    """`1920x1080` (width x height), `1920x` or `x1080` -> (H, W), None where a side follows from the other; InputError
    for anything else."""
    width, cross, height = text.lower().partition("x")
    sides = (height, width)
    if not cross or not any(sides) or not all(side == "" or (side.isdecimal() and int(side) > 0) for side in sides):
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
