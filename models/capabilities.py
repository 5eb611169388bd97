"""What a model can do, for programs that run models of any origin: fields as those of spandrel's model descriptors."""

import math
from dataclasses import dataclass
from enum import Enum


class Tiling(Enum):
    """Whether a picture may be cut into overlapping tiles to save memory."""

    SUPPORTED = "supported"
    """Tiles that overlap by more than the model's reach give the same picture."""

    INTERNAL = "internal"
    """So they do, but the model splits its work by itself: hand it the whole picture."""

    DISCOURAGED = "discouraged"
    """A pixel may depend on the whole picture, which tiles would change."""


@dataclass(frozen=True)
class SizeRequirements:
    """Sides that a picture must have: at least `minimum` pixels, a multiple of `multiple_of`, equal if `square`."""

    minimum: int = 1
    multiple_of: int = 1
    square: bool = False


ANY_SCALE = (0.0, math.inf)
EVERY_SIZE = SizeRequirements()  # models here pad, and crop what they padded, themselves
