"""Cross-scale non-local attention (Mei et al., CVPR 2020): each pixel borrows texture from elsewhere in the picture."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.computing import is_exporting
from models.layers.convolution import pad_to_multiple
from utils.geometry.sizes import Size

CROP = 48  # LR pixels: larger pictures are attended crop by crop, as in the published program
SMALLEST_NORM = 1e-4
SOFTMAX_SCALE = 10  # of the similarities


class CrossScaleAttention(nn.Module):
    """Rebuilds each pixel's neighbourhood from patches, twice as large, whose reduced copies look like it.

    (B, C, h, w) features -> (B, C * len(scales), h, w), for every size. Pictures above 48x48 are cut into crops of 48
    with one pixel of context, the last of a row or column taking the remainder, so memory is bounded by a crop.
    """

    def __init__(self, channels: int, scales: Sequence[int] = (2,)):
        super().__init__()
        self.scales = tuple(scales)
        self.conv_match_1 = nn.Sequential(nn.Conv2d(channels, channels // 2, 1), nn.PReLU())
        self.conv_match_2 = nn.Sequential(nn.Conv2d(channels, channels // 2, 1), nn.PReLU())
        self.conv_assembly = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.PReLU())
        for scale in self.scales:
            down = nn.Conv2d(channels, channels, 3, stride=scale, padding=1)
            setattr(self, "down" if scale == 2 else f"downx{scale}", down)

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        if is_exporting():  # graphs have no loops: for pictures below two crops
            return torch.cat([self._attend(features, scale) for scale in self.scales], dim=1)
        rows = [torch.cat([self._crop(features, y, x) for x in spans(width)], dim=3) for y in spans(height)]
        return torch.cat(rows, dim=2)

    def _crop(self, features: Tensor, rows: slice, columns: slice) -> Tensor:
        """The attended features of a crop, computed with one pixel of context where there is any."""
        top, left = min(rows.start, 1), min(columns.start, 1)
        part = features[:, :, rows.start - top : rows.stop + 1, columns.start - left : columns.stop + 1]
        attended = torch.cat([self._attend(part, scale) for scale in self.scales], dim=1)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        return attended[:, :, top : top + height, left : left + width]

    def _attend(self, features: Tensor, scale: int) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w), attention to patches `scale` times as large."""
        height, width = features.shape[-2:]
        features = pad_to_multiple(features, scale)
        size = features.shape[-2:]

        reduced = F.interpolate(features, scale_factor=1 / scale, mode="bilinear", align_corners=False)
        keys = F.unfold(self.conv_match_2(reduced), 3, padding=1)  # (B, C/2 * 9, K)
        keys = keys / keys.norm(dim=1, keepdim=True).clamp(min=SMALLEST_NORM)
        queries = F.unfold(self.conv_match_1(features), 3, padding=1)  # (B, C/2 * 9, h * w)
        attention = (SOFTMAX_SCALE * (keys.transpose(1, 2) @ queries)).softmax(dim=1)  # (B, K, h * w)

        patches = F.unfold(self.conv_assembly(features), 3 * scale, stride=scale, padding=scale)  # (B, C * 9s², K)
        enlarged = _fold(patches @ attention, size, scale)
        down = self.down if scale == 2 else getattr(self, f"downx{scale}")
        return (down(enlarged) / 6)[:, :, :height, :width]


def _fold(patches: Tensor, size: Size, scale: int) -> Tensor:
    """Sum of patches (B, C * 9s², h * w), of which each covers a pixel of (h, w) and the eight around it, each of s x s
    pixels: (B, C, s * h, s * w)."""
    if not is_exporting():
        return F.fold(patches, [scale * n for n in size], kernel_size=3 * scale, stride=scale, padding=scale)
    blocks = patches.unflatten(2, size).unflatten(1, (-1, 3, scale, 3, scale))  # (B, C, 3, s, 3, s, h, w)
    padded = F.pad(blocks, (1, 1, 1, 1))
    total: Tensor | float = 0.0
    for i, j in itertools.product(range(3), repeat=2):
        total = total + padded[:, :, i, :, j, :, 2 - i : 2 - i + size[0], 2 - j : 2 - j + size[1]]
    return total.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)  # (B, C, h, s, w, s)


def spans(length: int) -> list[slice]:
    """0..length in spans of CROP, the last one taking the remainder; one span when it is shorter."""
    starts = [CROP * i for i in range(max(1, length // CROP))]
    return [slice(start, stop) for start, stop in itertools.pairwise([*starts, length])]
