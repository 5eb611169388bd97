"""Pictures of several kinds in one set."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import ConcatDataset

from datasets.registry import make, register
from utils.errors import InputError
from utils.geometry.grids import Size


@register("mixture")
class Mixture(ConcatDataset):
    """The pictures of several sets, one set after the other, as (H, W, 3) uint8 RGB arrays.

    `parts`: a `{name, args}` for each set of single pictures. An epoch passes over all of them, so the `repeat` of a
    part decides its share.
    """

    paired = False

    def __init__(self, parts: Sequence[Mapping]):
        if not parts:
            raise InputError("mixture: parts is empty; list the name and args of each set of pictures")
        super().__init__([make(part) for part in parts])
        for part, dataset in zip(parts, self.datasets, strict=True):
            if dataset.paired:
                raise InputError(f"mixture: takes single pictures, not '{part['name']}'; use 'image-folder'")

    def __getitem__(self, index: int) -> np.ndarray:
        return super().__getitem__(index)

    def path(self, index: int) -> Path:
        """File of item `index`."""
        for dataset in self.datasets:
            if index < len(dataset):
                return dataset.path(index)
            index -= len(dataset)
        raise IndexError(index)

    def files(self) -> list[Path]:
        """The files of all sets in order, each once."""
        return [path for dataset in self.datasets for path in dataset.files()]

    def sizes(self) -> list[Size]:
        """(height, width) of the files in order, each once, from their headers."""
        return [size for dataset in self.datasets for size in dataset.sizes()]
