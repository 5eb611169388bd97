"""Matrices of homographies, without tensors: what programs compute before PyTorch is imported."""

import math

import numpy as np

from utils.geometry.scales import Scale, Size


def rotation_matrix(degrees: float, size: Size, output_size: Size, scale: Scale = (1, 1)) -> np.ndarray:
    """(3, 3) float64: enlarges an (h, w) picture by `scale` and turns it counter-clockwise, centre to centre of the
    output."""
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    return _shift(output_size, 1) @ turn @ np.diag([scale[1], scale[0], 1.0]) @ _shift(size, -1)


def window_matrix(matrix: np.ndarray, top: int, left: int) -> np.ndarray:
    """The homography (3, 3) to the part of an output from row `top` and column `left` on."""
    shift = np.eye(3)
    shift[0, 2], shift[1, 2] = -left, -top
    return shift @ matrix


def _shift(size: Size, sign: int) -> np.ndarray:
    """Moves the centre of an (h, w) picture to the origin (sign -1) or back (1)."""
    shift = np.eye(3)
    shift[0, 2], shift[1, 2] = sign * (size[1] - 1) / 2, sign * (size[0] - 1) / 2
    return shift
