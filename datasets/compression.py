"""Pictures after lossy compression."""

import io

import numpy as np
from PIL import Image

BLOCK = 16  # pixels: the largest unit of JPEG and WebP
WEBP_LIMIT = 16383  # pixels a side


def encoded(picture: np.ndarray, quality: int, webp: bool = False, subsampled: bool = True) -> bytes:
    """(H, W, 3) uint8 as a JPEG or, where its size allows, a WebP file; `subsampled`: JPEG with colours at half the
    resolution."""
    file = io.BytesIO()
    image = Image.fromarray(picture)
    if webp and max(picture.shape) <= WEBP_LIMIT:
        image.save(file, "WEBP", quality=quality, method=0)  # the fastest
    else:
        image.save(file, "JPEG", quality=quality, subsampling="4:2:0" if subsampled else "4:4:4")
    return file.getvalue()


def compressed(picture: np.ndarray, quality: int, webp: bool = False, subsampled: bool = True) -> np.ndarray:
    """What is left of (H, W, 3) uint8 after `encoded`."""
    with Image.open(io.BytesIO(encoded(picture, quality, webp, subsampled))) as file:
        return np.array(file.convert("RGB"))
