"""Nodes for ComfyUI: any scale or size by a model of Continua, and its models for ComfyUI's own upscale node.

Copy this folder into ComfyUI's `custom_nodes`, and `pip install` Continua into ComfyUI's environment.
"""

import functools
from typing import Any

import torch
from torch import Tensor

import continua

MODELS = ("subpixel-s", "subpixel-m", "s", "photo-s", "drawings-s", "lerf-g", "lerf-l", "lanczos", "bicubic")
MODEL = ("STRING", {"default": MODELS[0], "tooltip": f"{', '.join(MODELS)}, or the path of a checkpoint"})
load = functools.lru_cache(maxsize=4)(continua.load)


class ContinuaUpscale:
    """An image at any scale, or at a size in pixels where one is given."""

    CATEGORY = "image/upscaling"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"
    DESCRIPTION = "Learned upscaling by any factor, or to any size (0: as the scale says)."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        scale = ("FLOAT", {"default": 2.5, "min": 0.05, "max": 32.0, "step": 0.05})
        side = ("INT", {"default": 0, "min": 0, "max": 32768})
        required = {"image": ("IMAGE",), "model": MODEL, "scale": scale}
        return {"required": required, "optional": {"width": side, "height": side}}

    def upscale(self, image: Tensor, model: str, scale: float, width: int = 0, height: int = 0) -> tuple[Tensor]:
        """`image` (B, h, w, C) in [0, 1] -> (B, H, W, 3); of one side alone the other follows."""
        pictures = image[..., :3].movedim(-1, 1).clamp(0, 1)
        given = pictures.shape[-2:]
        wanted: dict[str, Any] = {"scale": scale}
        if width or height:
            factor = height / given[0] if height else width / given[1]
            wanted = {"size": (height or max(1, round(factor * given[0])), width or max(1, round(factor * given[1])))}
        return (torch.cat([load(model)(picture[None], **wanted) for picture in pictures]).movedim(1, -1),)


class ContinuaUpscaleModel:
    """A model at one whole scale, for the node "Upscale Image (using Model)"."""

    CATEGORY = "loaders"
    RETURN_TYPES = ("UPSCALE_MODEL",)
    FUNCTION = "load_model"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"model": MODEL, "scale": ("INT", {"default": 4, "min": 1, "max": 16})}}

    def load_model(self, model: str, scale: int) -> tuple[Any]:
        return (continua.descriptor(model, scale).eval(),)


NODE_CLASS_MAPPINGS = {"ContinuaUpscale": ContinuaUpscale, "ContinuaUpscaleModel": ContinuaUpscaleModel}
