"""Homographies in files and in text."""

import os
from pathlib import Path

import torch
from torch import Tensor

from utils.errors import InputError
from utils.files import atomic_file
from utils.geometry.homographies import Homography
from utils.reading import read_array, read_tensors, read_text


def read_homography(source: str | Path) -> Homography:
    """The homography of a `.pth`, `.npy` or text file, or of text: nine numbers, row by row, with blanks or commas
    between.

    InputError when there is no such file, it holds something else, or the matrix is singular.
    """
    path = Path(source)
    text = str(source)
    try:
        if _is_file(path) or path.suffix in (".pth", ".pt", ".npy"):
            values = _read_matrix(path)
        elif "," in text or len(text.split()) > 1:
            values = _parse_matrix(text)
        else:
            raise InputError("no such file; give a .pth, .npy or text file, or nine numbers with commas between")
        return Homography(values.reshape(3, 3))
    except InputError as error:
        raise InputError(f"homography {text if len(text) < 80 else text[:77] + '...'}: {error}") from None


def parse_homography(text: str) -> Homography:
    """The homography of a text as `read_homography` takes it, which is never a file's name."""
    try:
        return Homography(_parse_matrix(text).reshape(3, 3))
    except InputError as error:
        raise InputError(f"homography {text if len(text) < 80 else text[:77] + '...'}: {error}") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # nine numbers can be more than a file's name can hold
        return False


def _read_matrix(path: Path) -> Tensor:
    """Nine numbers of a file, float64."""
    if not os.path.exists(path):
        raise InputError("no such file")
    if path.suffix not in (".npy", ".pth", ".pt"):
        return _parse_matrix(read_text(path, "file"))
    content = read_array(path, "file") if path.suffix == ".npy" else read_tensors(path, "file")
    try:
        values = torch.as_tensor(content)
        return _nine(values).double().flatten()
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:  # whatever else a file of tensors holds
        raise InputError(f"holds no matrix ({type(error).__name__}); expected nine numbers") from None


def _parse_matrix(text: str) -> Tensor:
    parts = text.replace(",", " ").replace(";", " ").replace("[", " ").replace("]", " ").split()
    try:
        values = [float(part) for part in parts]
    except ValueError:
        raise InputError("a matrix is nine numbers, row by row, with blanks or commas between") from None
    return _nine(torch.tensor(values, dtype=torch.float64))


def _nine(values: Tensor) -> Tensor:
    if values.is_complex():
        raise InputError("a matrix is nine real numbers, not complex ones")
    if values.numel() != 9:
        raise InputError(f"a matrix has nine numbers, row by row, not {values.numel()}")
    return values


def write_homography(path: str | Path, homography: Homography) -> None:
    """As text, three rows of three numbers; reading it gives the same matrix."""
    rows = (" ".join(f"{value!r}" for value in row) for row in homography.matrix.tolist())
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(rows) + "\n")
