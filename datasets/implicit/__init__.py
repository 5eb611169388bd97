"""Wrappers that turn pictures into samples of a continuous function: an LR picture, positions, and the colours there.

Every item is a dict: `inp` (3, h, w) in [0, 1], `coord` (Q, 2) positions, `cell` (2,) output pixel size, `gt` (Q, 3)
in [0, 1]; 1 channel instead of 3 with `one_channel`.
"""

from datasets.implicit.base import ImplicitDataset, augmented
from datasets.implicit.downsampled import Downsampled, DownsampledFast, whole_sizes
from datasets.implicit.paired import Paired, PairedFast
from datasets.implicit.resized import FixedResolution, UniformVaried

__all__ = [
    "Downsampled",
    "DownsampledFast",
    "FixedResolution",
    "ImplicitDataset",
    "Paired",
    "PairedFast",
    "UniformVaried",
    "augmented",
    "whole_sizes",
]
