"""Models under their registry names: tensors in, tensors out; no files, devices or command lines.

A new method is one new file in `decoders/` (or `encoders/`, `resampling/`, `lerf/`) with a class under
`@register("name")`; every file in those folders is imported here.
"""

from models import decoders, encoders, layers, lerf, resampling
from models.continuous import ContinuousModel, Field, Latent
from models.registry import load_parameters, make, register, registry
from utils.registry import import_folder

for package in (decoders, encoders, layers, lerf, resampling):
    import_folder(package)


def names(folder: str) -> list[str]:
    """Registry names of the models in a folder: `names("decoders")`, `names("encoders")`, `names("resampling")`."""
    return registry.names(f"models.{folder}")


__all__ = ["ContinuousModel", "Field", "Latent", "load_parameters", "make", "names", "register", "registry"]
