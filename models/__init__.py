"""Models under their registry names, tensors in and tensors out; `Upscaler`, their face: pictures in, pictures out.

A new method is one new file in `decoders/` (or `encoders/`, `resampling/`, `lerf/`) with a class under
`@register("name")`. The names below are imported when they are first asked for: `models.zoo` works without PyTorch.
"""

import importlib
from typing import Any

_HOMES = {
    **dict.fromkeys(("ContinuousModel", "Field", "Latent"), "continuous"),
    **dict.fromkeys(("load_parameters", "make", "names", "register"), "registry"),
    "Upscaler": "upscaler",
    "load_upscaler": "checkpoints.loading",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
