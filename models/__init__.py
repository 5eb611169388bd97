"""Models under their registry names, tensors in and tensors out; `Upscaler`, their face: pictures in, pictures out.

A new method is one new file in `decoders/` (or `encoders/`, `resampling/`, `lerf/`) with a class under
`@register("name")`; every file in those folders is imported here.
"""

from models import decoders, encoders, layers, lerf, resampling
from models.continuous import ContinuousModel, Field, Latent
from models.registry import load_parameters, make, register, registry
from utils.registry import import_folder

for package in (decoders, encoders, layers, lerf, resampling):
    import_folder(package)

from models.checkpoints.loading import load_upscaler  # noqa: E402 (reads the registry, which is full only now)
from models.upscaler import Upscaler  # noqa: E402


def names(folder: str) -> list[str]:
    """Registry names of the models in a folder: `names("decoders")`, `names("encoders")`, `names("resampling")`."""
    return registry.names(f"{__name__}.{folder}")


__all__ = [
    "ContinuousModel",
    "Field",
    "Latent",
    "Upscaler",
    "load_parameters",
    "load_upscaler",
    "make",
    "names",
    "register",
    "registry",
]
