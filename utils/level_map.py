"""A picture of which region CMSR rendered at which scale: people look rather than read."""

import numpy as np

from models.cmsr import ControlledPicture
from utils.coords import Grid, Size, sample_nearest

# From little work to much, distinct for colour-blind readers too (viridis), as RGB.
COLOURS = np.array(
    [
        (68, 1, 84),
        (71, 45, 123),
        (59, 82, 139),
        (44, 114, 142),
        (33, 145, 140),
        (40, 174, 128),
        (94, 201, 98),
        (253, 231, 37),
    ],
    dtype=np.uint8,
)


def colours_of(count: int) -> np.ndarray:
    """(count, 3) uint8 colours, spread over the whole range."""
    return COLOURS[np.linspace(0, len(COLOURS) - 1, count).round().astype(int)] if count > 1 else COLOURS[-1:]


def level_map(controlled: ControlledPicture, size: Size) -> np.ndarray:
    """(H, W, 3) uint8: the colour of the scale at which each position of the first picture was rendered."""
    coord = Grid.of_size(size).coord().flatten(0, 1)[None]
    level = sample_nearest(controlled.level[:1, ..., None].cpu(), coord)[0, :, 0].unflatten(0, size)
    return colours_of(len(controlled.scales))[level.numpy()]


def map_legend(controlled: ControlledPicture) -> str:
    """Which colour is which scale, and its share of the picture."""
    shares = [(controlled.level[0] == number).float().mean().item() for number in range(len(controlled.scales))]
    colours = colours_of(len(controlled.scales))
    entries = zip(controlled.scales, colours, shares, strict=True)
    return ", ".join(f"x{scale:g} #{r:02x}{g:02x}{b:02x} {share:.0%}" for scale, (r, g, b), share in entries)
