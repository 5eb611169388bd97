"""A picture as its file holds it: pixels in the file's own depth and channels, and what it says beside them."""

from dataclasses import dataclass, field

import numpy as np

from pictures.metadata import Metadata

PEAKS = {8: 255, 16: 65535, 32: 1}  # the level that 1.0 stands for, by bits a channel; 32 are floats
DTYPES = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16), 32: np.dtype(np.float32)}
CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class PixelFormat:
    """`channels` L, LA, RGB, RGBA or CMYK (A: alpha, not premultiplied), and `depth`: 8, 16 or, floats, 32 bits."""

    channels: str
    depth: int

    @property
    def has_alpha(self) -> bool:
        return self.channels.endswith("A")

    @property
    def colours(self) -> str:
        """The channels without alpha."""
        return self.channels.removesuffix("A")


@dataclass(frozen=True)
class Picture:
    """`pixels` (h, w, C) uint8, uint16, or float32 in [0, 1], CMYK as amounts of ink.

    `span`: what 0 and 1 stand for in a file of floats. `losses` is what the file holds and this does not, in words.
    """

    pixels: np.ndarray
    channels: str
    metadata: Metadata = field(default_factory=Metadata)
    span: tuple[float, float] = (0.0, 1.0)
    losses: tuple[str, ...] = ()

    @property
    def pixel_format(self) -> PixelFormat:
        return PixelFormat(self.channels, next(depth for depth, dtype in DTYPES.items() if dtype == self.pixels.dtype))

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)."""
        return self.pixels.shape[:2]


@dataclass(frozen=True)
class Animation:
    """`frames` of one kind and size as they are shown, `durations` in milliseconds, `plays`: how often all is shown,
    0 for without end."""

    frames: tuple[Picture, ...]
    durations: tuple[float, ...]
    plays: int

    @property
    def metadata(self) -> Metadata:
        return self.frames[0].metadata


def levels(values: np.ndarray, depth: int) -> np.ndarray:
    """Values of any depth as those of another, rounded to the nearest level."""
    if values.dtype == DTYPES[depth]:
        return values
    peak = next(PEAKS[bits] for bits, dtype in DTYPES.items() if dtype == values.dtype)
    scaled = values.astype(np.float64 if depth == 16 else np.float32) * (PEAKS[depth] / peak)
    return (scaled if depth == 32 else np.rint(scaled)).astype(DTYPES[depth])
