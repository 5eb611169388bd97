"""Decoders: complete models that turn an encoder's features into a picture of any size, one file per method.

The first argument of a decoder is the spec of its encoder.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from models.registry import registry


def on_encoder(name: str, encoder: Mapping[str, Any], arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The spec of the decoder `name` on an encoder, with the other `arguments` or their defaults."""
    first = next(iter(inspect.signature(registry.factories[name]).parameters))
    return {"name": name, "args": {**(arguments or {}), first: encoder}}
