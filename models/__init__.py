"""Models under their registry names: tensors in, tensors out; no files, devices or command lines.

A new method is one new file in `decoders/` (or `encoders/`) with a class entered by `@register("name")`, imported
below.
"""

from models import decoders, encoders, layers, lerf
from models.continuous import ContinuousModel, Field, Latent
from models.registry import load_parameters, make, register, registry
from models.resampling import filters

__all__ = [
    "ContinuousModel",
    "Field",
    "Latent",
    "decoders",
    "encoders",
    "filters",
    "layers",
    "lerf",
    "load_parameters",
    "make",
    "register",
    "registry",
]
