"""Pixels <-> tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pictures.picture import DTYPES, PEAKS, Picture

ROWS = 256  # of a picture converted at a time
DEVICE_PIXELS = 1 << 26  # converted at a time on an accelerator, where each band is waited for


@dataclass(frozen=True)
class Layers:
    """A picture as models take it, float32 in [0, 1]: `colour` (C, h, w), grey, RGB, or CMYK as what ink leaves of the
    paper's white, and `alpha` (1, h, w), with which colours are not multiplied, where there is transparency."""

    colour: Tensor
    alpha: Tensor | None = None

    @classmethod
    def of(cls, picture: Picture) -> "Layers":
        pixels = picture.pixels
        values = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / PEAKS[picture.pixel_format.depth]
        if picture.channels == "CMYK":
            values = 1 - values
        count = len(picture.pixel_format.colours)
        return cls(values[:count].contiguous(), values[count:].contiguous() if picture.pixel_format.has_alpha else None)

    def pixels(self, depth: int, channels: str) -> np.ndarray:
        """(H, W, C) in `channels`, rounded to levels of `depth` bits; floats for 32."""
        colour = 1 - self.colour if channels == "CMYK" else self.colour
        count = len(channels.removesuffix("A"))
        parts = [to_pixels(colour.expand(count, -1, -1), depth=depth)]
        if channels.endswith("A"):
            alpha = torch.ones_like(self.colour[:1]) if self.alpha is None else self.alpha
            parts.append(to_pixels(alpha, depth=depth))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def over(self, background: tuple[int, int, int]) -> "Layers":
        """Without alpha, in front of a colour (red, green, blue)."""
        if self.alpha is None:
            return self
        return Layers(torch.lerp(colour_of(background, self.colour), self.colour, self.alpha))

    def window(self, top: int, left: int, size: tuple[int, int]) -> "Layers":
        """The part of `size` (H, W) from row `top` and column `left` on."""
        parts = (self.colour, self.alpha)
        return Layers(
            *(part if part is None else part[:, top : top + size[0], left : left + size[1]] for part in parts)
        )

    @classmethod
    def joined(cls, parts: Sequence["Layers"], dim: int) -> "Layers":
        """Parts of the same width, from top to bottom (`dim` 1), or of the same height, from left to right (2), as one;
        all of them have alpha, or none."""
        if len(parts) == 1:
            return parts[0]
        alpha = None if parts[0].alpha is None else torch.cat([part.alpha for part in parts], dim)
        return cls(torch.cat([part.colour for part in parts], dim), alpha)

    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB in front of white, for showing; inks by the plain formula."""
        colour = self.over((255, 255, 255)).colour
        return to_pixels((colour[:3] * colour[3:] if len(colour) == 4 else colour).expand(3, -1, -1))


def colour_of(rgb: tuple[int, int, int], like: Tensor) -> Tensor:
    """(C, 1, 1): a colour as grey, RGB or CMYK, by the channels of `like` (C, h, w)."""
    colour = torch.tensor(rgb, dtype=torch.float32)[:, None, None] / 255
    if len(like) == 1:
        return (colour * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)
    return torch.cat([colour, torch.ones(len(like) - 3, 1, 1)])


def to_tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, 3) or (H, W) uint8 -> (3, H, W) float32 in [0, 1]; grey is repeated."""
    tensor = torch.from_numpy(np.require(pixels, requirements="CW"))  # PyTorch warns of arrays that are not writable
    if tensor.dim() == 2:
        tensor = tensor[:, :, None].expand(-1, -1, 3)
    return tensor.permute(2, 0, 1).float() / 255


def to_pixels(picture: Tensor, grey: bool = False, depth: int = 8) -> np.ndarray:
    """(C, H, W) in [0, 1], clipped -> (H, W, C) uint8, uint16 or float32 by `depth`, rounded to the nearest level; the
    mean of the channels (H, W) when `grey`.

    Converts a band of rows at a time: beyond the picture and the result, memory does not grow with the height.
    """
    count, height, width = picture.shape
    pixels = np.empty((height, width, 1 if grey else count), DTYPES[depth])
    rows = ROWS if picture.is_cpu else max(ROWS, DEVICE_PIXELS // width)
    for top in range(0, height, rows):
        band = picture[:, top : top + rows]
        if grey:
            band = band.mean(0, keepdim=True)
        values = band.clamp(0, 1)
        if depth < 32:
            values = (values * PEAKS[depth]).round_().to(torch.uint8 if depth == 8 else torch.int32)
        for channel, plane in enumerate(values.cpu().numpy()):  # half the time of all at once
            pixels[top : top + rows, :, channel] = plane
    return pixels[:, :, 0] if grey else pixels


def resize_bicubic(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8 -> (H, W, 3) uint8 with Pillow's antialiased bicubic, as LIIF and LMF make their LR pictures."""
    return np.array(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC))
