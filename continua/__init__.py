"""Learned arbitrary-scale super-resolution, resampling and warping.

    import continua

    upscaler = continua.load()
    larger = upscaler(image, scale=2.5)

`help(continua.load)` says what a model may be, `help(upscaler.__call__)` what an image. For many sizes of one image:
`latent = upscaler.encode(tensor)`, then `upscaler.render(latent, (height, width))`. `Upscale` is for Ray Data, Dask and
Spark, `descriptor` for programs that use spandrel.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from painting.in_memory import Upscale, descriptor, load

__version__ = "0.1.0"
__all__ = ["Upscale", "descriptor", "load"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, and PyTorch with it."""
    if name not in __all__:
        raise AttributeError(f"module 'continua' has no attribute '{name}'")
    from painting import in_memory

    return getattr(in_memory, name)
