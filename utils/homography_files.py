"""Homographies in files and in text."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from utils.errors import InputError
from utils.files import atomic_file
from utils.geometry.homographies import Homography
from utils.matrix_files import parse_matrix, read_matrix


def read_homography(source: str | Path) -> Homography:
    """The homography of a `.pth`, `.npy` or text file, or of text: nine numbers, row by row, with blanks or commas
    between.

    InputError when there is no such file, it holds something else, or the matrix is singular.
    """
    return _explained(read_matrix, source)


def parse_homography(text: str) -> Homography:
    """The homography of a text as `read_homography` takes it, which is never a file's name."""
    return _explained(parse_matrix, text)


def _explained(read: Callable[[str | Path], np.ndarray], source: str | Path) -> Homography:
    try:
        return Homography(torch.from_numpy(read(source)))
    except InputError as error:
        text = str(source)
        raise InputError(f"homography {text if len(text) < 80 else text[:77] + '...'}: {error}") from None


def write_homography(path: str | Path, homography: Homography) -> None:
    """As text, three rows of three numbers; reading it gives the same matrix."""
    rows = (" ".join(f"{value!r}" for value in row) for row in homography.matrix.tolist())
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(rows) + "\n")
