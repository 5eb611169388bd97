"""Learned arbitrary-scale super-resolution, resampling and warping.

    import continua

    upscaler = continua.load("s")
    larger = upscaler(image, scale=2.5)

`continua.load` says what a model may be, and `help(upscaler.__call__)` what an image may be. For many sizes of one
image: `latent = upscaler.encode(tensor)`, then `upscaler.render(latent, (height, width))`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from painting.in_memory import PictureUpscaler, Upscale

__version__ = "0.1.0"
__all__ = ["Upscale", "descriptor", "load"]


def __getattr__(name: str) -> Any:
    """`Upscale`, a callable for Ray Data, Dask and Spark, imported when it is asked for, as `load` imports PyTorch."""
    if name != "Upscale":
        raise AttributeError(f"module 'continua' has no attribute '{name}'")
    from painting.in_memory import Upscale

    return Upscale


def load(model: str = "s", device: str = "auto", backend: str = "auto") -> PictureUpscaler:
    """A model, ready for images.

    model: short name of shipped weights (`s`, `lerf-g`, ...; an unknown one lists all), a checkpoint, a network of
        other people's (`some_x4.pth`; needs the package spandrel), a folder of LUTs, or a filter (`lanczos`, ...).
    device: auto, cpu, cuda, cuda:N or mps. backend: auto, native or torch, what computes on a CPU.

    Raises ValueError, of one line, for anything else.
    """
    from painting.in_memory import load

    return load(model, device, backend)


def descriptor(model: str = "s", scale: int = 4, device: str = "cpu", backend: str = "auto") -> Any:
    """A model at one whole `scale` as an `ImageModelDescriptor` of spandrel, which ComfyUI's and chaiNNer's upscale
    nodes take; `model` and `backend` as in `load`. Raises ValueError where a model or a scale is none, or spandrel is
    not installed."""
    from models.checkpoints.networks import descriptor

    return descriptor(load(model, device, backend).upscaler, scale)
