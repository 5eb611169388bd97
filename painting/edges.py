"""Edges of warps: how much of each output pixel lies inside the picture, and colours where its centre does not."""

import numpy as np

from utils.geometry.matrices import facing_matrix
from utils.geometry.sizes import Size

PIXELS = 1 << 20  # looked at together
EXACT = 1e-6  # coverage nearer than this to 0 or 1 is that
NEIGHBOURS = (0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)  # rows, columns; nearest first


def coverage(matrix: np.ndarray, input_size: Size, size: Size) -> np.ndarray:
    """The share of each pixel of an output (H, W) that lies inside an (h, w) picture under the homography (3, 3):
    (H, W) float32 in [0, 1].

    A homography maps the picture's four edges to lines; the area of a pixel on one side of a line is exact, corners
    are products of two areas.
    """
    x, y, w = np.linalg.inv(facing_matrix(matrix, input_size))
    lines = np.stack([x + w / 2, (input_size[1] - 0.5) * w - x, y + w / 2, (input_size[0] - 0.5) * w - y])
    lines /= np.maximum(np.hypot(lines[:, 0], lines[:, 1]), 1e-300)[:, None]  # distances in output pixels, inside > 0
    covered, columns, step = np.empty(size, np.float32), np.arange(size[1]), max(1, PIXELS // size[1])
    for top in range(0, size[0], step):
        rows = np.arange(top, min(top + step, size[0]))[:, None]
        nearest = np.full((len(rows), size[1]), np.inf, np.float32)
        for a, b, c in lines:
            np.minimum(nearest, (a * columns).astype(np.float32) + (b * rows + c).astype(np.float32), out=nearest)
        part = covered[top : top + step]
        part[:] = nearest > 0
        row, column = np.nonzero(np.abs(nearest) < 1)
        areas = [_area(line, column, row + top) for line in lines]
        part[row, column] = np.maximum(areas[0] + areas[1] - 1, 0) * np.maximum(areas[2] + areas[3] - 1, 0)
    covered[covered < EXACT] = 0
    covered[covered > 1 - EXACT] = 1
    return covered


def _area(line: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The share of unit squares around (x, y) where a line (a, b, c), a normal of length 1 and an offset, is above
    0."""
    distance = line[0] * x + line[1] * y + line[2]
    narrow, wide = sorted(np.abs(line[:2]))
    if narrow < 1e-6:
        return np.clip(distance / max(wide, 0.5) + 0.5, 0, 1)
    # The distribution of the sum of two uniform variables of these widths
    outer, inner = (wide + narrow) / 2, (wide - narrow) / 2
    steps = ((1, outer), (-1, inner), (-1, -inner), (1, -outer))
    return np.clip(sum(s * np.maximum(distance + t, 0) ** 2 for s, t in steps) / (2 * wide * narrow), 0, 1)


def spread(pixels: np.ndarray, inside: np.ndarray, covered: np.ndarray) -> None:
    """Give pixels (H, W, C) that are `covered` (H, W) in part, whose centre is not `inside`, a neighbour's colour."""
    row, column = np.nonzero((covered > 0) & ~inside)
    left = np.ones(len(row), bool)
    for down, across in NEIGHBOURS:
        y, x = row + down, column + across
        there = left & (y >= 0) & (y < inside.shape[0]) & (x >= 0) & (x < inside.shape[1])
        there[there] = inside[y[there], x[there]]
        pixels[row[there], column[there]] = pixels[y[there], x[there]]
        left &= ~there
