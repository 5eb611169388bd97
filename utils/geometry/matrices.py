"""Matrices of homographies in memory, files and text; PyTorch is imported only for its own files."""

import math
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from utils.errors import InputError
from utils.files import read_array, read_tensors, read_text
from utils.geometry.sizes import Scale, Size

SINGULAR = 1e-12


def rotation_matrix(degrees: float, size: Size, output_size: Size, scale: Scale = (1, 1)) -> np.ndarray:
    """(3, 3) float64: enlarges an (h, w) picture by `scale` and turns it counter-clockwise, centre to centre of the
    output."""
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    return _shift(output_size, 1) @ turn @ np.diag([scale[1], scale[0], 1.0]) @ _shift(size, -1)


def facing_matrix(matrix: np.ndarray, size: Size) -> np.ndarray:
    """The matrix (3, 3) with the factor that makes the third coordinate 1 at the centre of an (h, w) picture."""
    matrix = matrix / np.abs(matrix).max()
    depth = matrix[2] @ [(size[1] - 1) / 2, (size[0] - 1) / 2, 1]
    return matrix if abs(depth) < SINGULAR else matrix / depth


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


def matrix_of(source: str | Path | ArrayLike, reads_files: bool = True) -> np.ndarray:
    """The homography (3, 3) float64 that is given, or that a `.pth`, `.npy` or text file, or a text holds: nine
    numbers, row by row, with blanks or commas between. Without `reads_files` a text is never a file's name.
    InputError, which names the source, where it is none."""
    if not isinstance(source, str | Path):
        return check_homography(np.asarray(source, np.float64))
    text = str(source)
    is_file = isinstance(source, Path) or os.path.isfile(text) or not re.search(r"[,\s]", text.strip())
    try:
        values = _read(Path(source)) if reads_files and is_file else _parse(text)
        if values.dtype.kind not in "biuf" or values.size != 9:
            given = values.size if values.dtype.kind in "biuf" else f"of type {values.dtype}"
            raise InputError(f"a matrix is nine numbers, row by row, not {given}")
        return check_homography(values.astype(np.float64).reshape(3, 3))
    except InputError as error:
        raise InputError(f"homography {text if len(text) < 80 else text[:77] + '...'}: {error}") from None


def check_homography(matrix: np.ndarray) -> np.ndarray:
    """The matrix; InputError unless it is (3, 3), finite and invertible."""
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise InputError("a homography is 3x3 finite numbers")
    # Rows and columns have different units, so their lengths are divided out before the determinant is judged.
    balanced = matrix / np.abs(matrix).max(initial=1e-300)  # no square of it is beyond a float
    balanced = balanced / np.maximum(np.linalg.norm(balanced, axis=1, keepdims=True), 1e-300)
    balanced = balanced / np.maximum(np.linalg.norm(balanced, axis=0, keepdims=True), 1e-300)
    if abs(np.linalg.det(balanced)) < SINGULAR:
        raise InputError("the homography is singular: it maps the picture to a line; give an invertible matrix")
    return matrix


def _read(path: Path) -> np.ndarray:
    if not os.path.exists(path):
        raise InputError("no such file; give a .pth, .npy or text file, or nine numbers with commas between")
    if path.suffix == ".npy":
        return read_array(path, "file")
    if path.suffix not in (".pth", ".pt"):
        return _parse(read_text(path, "file"))
    try:
        return np.asarray(read_tensors(path, "file"))
    except (TypeError, RuntimeError) as error:  # whatever else a file of tensors holds
        raise InputError(f"holds no matrix ({type(error).__name__}); expected nine numbers") from None


def _parse(text: str) -> np.ndarray:
    try:
        return np.array([float(part) for part in re.sub(r"[,;\[\]]", " ", text).split()])
    except ValueError:
        raise InputError("a matrix is nine numbers, row by row, with blanks or commas between") from None
