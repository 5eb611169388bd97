"""LeRF (CVPR 2023, TPAMI 2024): networks, and look-up tables (LUTs) that stand for them. No PyTorch here."""

from typing import Any

# (dy, dx) from the pixel itself, in the order in which networks and LUTs take them.
PATTERNS: dict[str, tuple[tuple[int, int], ...]] = {
    "s": ((0, 0), (0, 1), (1, 0), (1, 1)),
    "c": ((0, 0), (0, 1), (0, 2), (0, 3)),
    "t": ((0, 0), (1, 1), (2, 2), (3, 3)),
}
ROTATIONS = 4
INTERVAL = 16  # grey levels between samples
SAMPLES = 256 // INTERVAL + 1  # the last sample is taken at 255 and stands in the place of 256


def layout(modes: str, kernel: str) -> dict[str, Any]:
    """Layout of LUTs for other programs: sampled every `interval` grey levels, for the pixels (dy, dx) of `patterns`,
    turned `rotations` times, for a `kernel`."""
    return {
        "interval": INTERVAL, "shape": [SAMPLES] * 4, "modes": modes, "rotations": ROTATIONS, "kernel": kernel,
        "patterns": {mode: [list(offset) for offset in PATTERNS[mode]] for mode in modes},
    }  # fmt: skip
