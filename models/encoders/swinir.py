"""SwinIR (Liang et al., ICCVW 2021), the variant of LTE (Lee & Jin, CVPR 2022): attention within shifted windows.

Feature maps are channels last, (B, H, W, C), except in convolutions. W is the side of a window, N = W * W its pixels.
"""

from collections import OrderedDict
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.computing import chunk_bytes, is_exporting
from models.layers.convolution import Convolution, pad_to_multiple
from models.registry import register
from utils.config import Count, Counts, Positive, whole
from utils.errors import InputError

# A block works on this many windows at a time, which bounds its memory and is faster on a CPU than all at once.
WINDOWS_AT_A_TIME = 64
# Added to the logits of pixels that are not neighbours in the picture, as in Swin Transformer.
MASKED = -100.0


def relative_position_index(window: int) -> Tensor:
    """(N, N) int64: row of the bias table for each pair of pixels of a window, by their distance (dy, dx)."""
    side = torch.arange(window)
    pixels = torch.cartesian_prod(side, side)  # (N, 2)
    distance = pixels[:, None] - pixels + window - 1  # (N, N, 2), from 0 to 2 * W - 2
    return distance[..., 0] * (2 * window - 1) + distance[..., 1]


def regions(height: int, width: int, shift: int, device: torch.device) -> Tensor:
    """(H, W) int64: numbers of the regions of a map rolled by `shift` whose pixels are neighbours in the picture.

    Rolling brings the first rows of the map behind the last ones, where they are no neighbours; likewise columns.
    """
    wrapped_y, wrapped_x = (torch.arange(n, device=device) >= n - shift for n in (height, width))
    return 2 * wrapped_y[:, None] + wrapped_x.long()


class WindowAttention(nn.Module):
    """Multi-head self-attention of the N pixels of a window, with a learned bias for each (dy, dx) between two."""

    def __init__(self, channels: int, window: int, heads: int):
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(K, N, C) windows -> the same; `mask` (K, N, N) is added to the logits of all heads."""
        bias = self.relative_position_bias_table[self.relative_position_index]  # (N, N, heads)
        bias = bias.permute(2, 0, 1)[None]  # (1, heads, N, N)
        if mask is not None:
            bias = bias + mask[:, None]  # (K, heads, N, N)
        qkv = self.qkv(x).unflatten(2, (3, self.heads, -1))  # (K, N, 3, heads, C / heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (K, heads, N, C / heads) each
        x = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.proj(x.transpose(1, 2).flatten(2))  # (K, N, C)


class SwinBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), in windows of a map rolled by `shift`; (B, H, W, C) in and out."""

    def __init__(self, channels: int, window: int, heads: int, mlp_ratio: float, shift: int):
        super().__init__()
        self.window = window
        self.shift = shift
        self.floats_per_window = window**2 * (heads * window**2 + 3 * channels)
        hidden = int(channels * mlp_ratio)
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, window, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Linear(channels, hidden), act=nn.GELU(), fc2=nn.Linear(hidden, channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        batch, height, width, channels = x.shape
        side, rows, columns = self.window, height // self.window, width // self.window
        region = regions(height, width, self.shift, x.device) if self.shift else None
        if region is not None:
            region = region.reshape(rows, side, columns, side).transpose(1, 2).reshape(-1, side * side)
            region = region.repeat(batch, 1)  # (B * rows * columns, N)
        x = x.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)  # (B, rows, columns, W, W, C)
        x = self._each_window(x.reshape(-1, side * side, channels), region)  # (B * rows * columns, N, C)
        x = x.reshape(batch, rows, columns, side, side, channels)
        x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # (B, H, W, C)
        return x.roll((self.shift, self.shift), (1, 2)) if self.shift else x

    def _each_window(self, x: Tensor, region: Tensor | None) -> Tensor:
        """Apply the block to windows (K, N, C), on a CPU WINDOWS_AT_A_TIME of them, with their `region` (K, N)."""
        count = WINDOWS_AT_A_TIME if x.is_cpu else max(1, chunk_bytes(x.device) // (4 * self.floats_per_window))
        if is_exporting():  # graphs have no loops
            return self._attended(x, region)
        parts = x.split(count)
        of_parts = [None] * len(parts) if region is None else region.split(count)
        return torch.cat([self._attended(*part) for part in zip(parts, of_parts, strict=True)])

    def _attended(self, x: Tensor, region: Tensor | None) -> Tensor:
        apart = None if region is None else region[:, :, None] != region[:, None]
        mask = None if apart is None else x.new_zeros(apart.shape).masked_fill(apart, MASKED)  # (K, N, N)
        x = x + self.attn(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


class ResidualSwinGroup(nn.Module):
    """x + conv(blocks(x)), every second block shifted by half a window; (B, H, W, C) in and out (the paper's RSTB)."""

    def __init__(self, channels: int, window: int, heads: int, mlp_ratio: float, depth: int):
        super().__init__()
        blocks = [SwinBlock(channels, window, heads, mlp_ratio, i % 2 * (window // 2)) for i in range(depth)]
        self.residual_group = nn.Sequential(OrderedDict(blocks=nn.Sequential(*blocks)))
        self.conv = Convolution(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.residual_group(x).permute(0, 3, 1, 2)
        return self.conv(deep, skip=x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@register("swinir")
class SwinIR(nn.Module):
    """(B, 3, h, w) normalised, of any size -> (B, out_dim, h, w) features.

    Inside, the picture is padded to multiples of the window (see `pad_to_multiple`) and the features are cropped back.
    LTE's variant has no mean shift, and ends with `conv_before_upsample` and a LeakyReLU. `depths` and `num_heads` hold
    one number for each group. It has no tail: InputError when `no_upsampling` is false.
    """

    def __init__(
        self,
        no_upsampling: bool = True,
        embed_dim: Count = 180,
        depths: Counts = (6, 6, 6, 6, 6, 6),
        num_heads: Counts = (6, 6, 6, 6, 6, 6),
        window_size: Annotated[int, whole(1, 32)] = 8,
        mlp_ratio: Positive = 2,
        out_dim: Count = 64,
    ):
        super().__init__()
        if not no_upsampling:
            raise InputError("swinir has no upsampling tail; set no_upsampling: true")
        if len(depths) != len(num_heads):
            raise InputError(f"swinir has {len(depths)} depths but {len(num_heads)} num_heads; give one each per group")
        for heads in num_heads:
            if embed_dim % heads:
                raise InputError(f"swinir cannot share embed_dim {embed_dim} among {heads} heads; give a multiple")
        self.window = window_size
        self.upsamples = False
        self.out_dim = out_dim
        self.conv_first = Convolution(3, embed_dim, 3)
        self.patch_embed = nn.Sequential(OrderedDict(norm=nn.LayerNorm(embed_dim)))
        groups = [
            ResidualSwinGroup(embed_dim, window_size, heads, mlp_ratio, depth)
            for depth, heads in zip(depths, num_heads, strict=True)
        ]
        self.layers = nn.Sequential(*groups)
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = Convolution(embed_dim, embed_dim, 3)
        self.conv_before_upsample = nn.Sequential(Convolution(embed_dim, out_dim, 3), nn.LeakyReLU(0.01, inplace=True))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        first = self.conv_first(pad_to_multiple(image, self.window))
        deep = self.norm(self.layers(self.patch_embed(first.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)
        features = self.conv_before_upsample(self.conv_after_body(deep, skip=first))
        return features[:, :, :height, :width]
