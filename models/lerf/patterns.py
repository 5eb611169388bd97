"""The pixels that LeRF's networks and LUTs read: four at a time, in three patterns and four directions."""

import torch
import torch.nn.functional as F
from torch import Tensor

# (dy, dx) from the pixel itself, in the order in which networks and LUTs take them.
PATTERNS: dict[str, tuple[tuple[int, int], ...]] = {
    "s": ((0, 0), (0, 1), (1, 0), (1, 1)),
    "c": ((0, 0), (0, 1), (0, 2), (0, 3)),
    "t": ((0, 0), (1, 1), (2, 2), (3, 3)),
}
ROTATIONS = 4


def turned(offset: tuple[int, int], rotation: int) -> tuple[int, int]:
    """The offset that becomes `offset` when its picture is turned by `rotation` x 90 degrees (numpy.rot90)."""
    dy, dx = offset
    for _ in range(rotation):
        dy, dx = dx, -dy
    return dy, dx


def neighbourhood(picture: Tensor, pattern: str, rotation: int) -> Tensor:
    """The four pixels of a pattern around every pixel of (N, h, w) pictures, border replicated: (4, N * h * w)."""
    height, width = picture.shape[-2:]
    offsets = [turned(offset, rotation) for offset in PATTERNS[pattern]]
    reach = max(abs(step) for offset in offsets for step in offset)
    padded = F.pad(picture[None], (reach,) * 4, mode="replicate")[0]
    shifted = [padded[:, reach + y : reach + y + height, reach + x : reach + x + width] for y, x in offsets]
    return torch.stack(shifted).flatten(1)
