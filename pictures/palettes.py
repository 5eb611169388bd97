"""Pictures with few colours, as GIF holds them."""

import numpy as np
from PIL import Image

from pictures.picture import Picture, levels

COLOURS = 256
TRANSPARENT = COLOURS - 1  # the entry of a palette that is transparent
OPAQUE_FROM = 128  # alpha


def palette_losses(picture: Picture) -> list[str]:
    """What a palette with one transparent entry does not hold of a picture, in words."""
    colour, alpha = _parts(levels(picture.pixels, 8))
    losses = []
    if alpha is not None and ((alpha > 0) & (alpha < 255)).any():
        losses.append("transparency reduced to all or nothing")
    seen = _packed(colour) if alpha is None else _packed(colour)[alpha >= OPAQUE_FROM]
    if len(np.unique(seen)) > COLOURS - (alpha is not None):
        losses.append(f"colours reduced to {COLOURS}")
    return losses


def palette_image(pixels: np.ndarray) -> Image.Image:
    """(h, w, 1 to 4) uint8 with the channels of `Picture` as Pillow's image with a palette, exact where the colours are
    few enough; with alpha, what is less than half opaque has the entry TRANSPARENT."""
    colour, alpha = _parts(pixels)
    visible = np.ones(colour.shape[:2], bool) if alpha is None else alpha >= OPAQUE_FROM
    count = COLOURS if alpha is None else TRANSPARENT
    if not visible.any():
        indices, palette = np.zeros(visible.shape, np.uint8), np.zeros((1, 3), np.uint8)
    else:
        shown = np.where(visible[..., None], colour, colour[visible][0])  # what is hidden takes no colours
        indices, palette = _indexed(shown, count)
    indices[~visible] = TRANSPARENT
    image = Image.fromarray(indices).convert("L")
    image.putpalette(np.pad(palette, ((0, COLOURS - len(palette)), (0, 0))).tobytes())
    if alpha is not None:
        image.info["transparency"] = TRANSPARENT
    return image


def _indexed(colour: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) indices of at most `count` colours, and these (n, 3)."""
    packed, indices = np.unique(_packed(colour), return_inverse=True)
    if len(packed) <= count:
        palette = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)
        return indices.reshape(colour.shape[:2]).astype(np.uint8), palette
    image = Image.fromarray(colour).quantize(count, Image.Quantize.MEDIANCUT)
    return np.array(image), np.array(image.getpalette(), np.uint8).reshape(-1, 3)[:count]


def _parts(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """(h, w, 3) colour, and alpha (h, w) or None."""
    channels = pixels.shape[2]
    alpha = pixels[..., -1] if channels in (2, 4) else None
    colour = pixels[..., :3] if channels > 2 else np.repeat(pixels[..., :1], 3, axis=2)
    return np.ascontiguousarray(colour), alpha


def _packed(colour: np.ndarray) -> np.ndarray:
    """(h, w) int32 of (h, w, 3) uint8."""
    red, green, blue = np.moveaxis(colour.astype(np.int32), 2, 0)
    return red << 16 | green << 8 | blue
