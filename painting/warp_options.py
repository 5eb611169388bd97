"""What options of demo.py mean for its outputs, known before PyTorch is imported."""

from typing import Any

COMPARED = "_compare.png"


def is_warp(arguments: Any) -> bool:
    """Whether the output may show more than the picture."""
    return arguments.rotate is not None or arguments.homography is not None


def is_transparent_warp(arguments: Any) -> bool:
    """Whether what it may show more is transparent."""
    return is_warp(arguments) and arguments.background in (None, "transparent")
