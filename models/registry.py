"""The registry of models, encoders and layers, under the names that the authors' configs and checkpoints use."""

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from utils.errors import InputError
from utils.registry import Registry

# Buffers that published state dicts hold and that follow from the architecture.
DERIVED = ("attn_mask", "relative_position_index", "escape_NaN")
# Constants that published programs keep as parameters and do not use; files of other programs lack them.
UNUSED = ("sub_mean.weight", "sub_mean.bias", "add_mean.weight", "add_mean.bias")

registry = Registry("model")
register = registry.register


def make(spec: Mapping[str, Any], load_sd: bool = False, **overrides: Any) -> nn.Module:
    """Build the model that `spec` = `{name, args}` describes; `overrides` replace single arguments.

    `load_sd=True` also loads the parameters in `spec["sd"]`, as in the authors' checkpoints. Raises InputError for
    unknown names and arguments, and for parameters that do not fit the model.
    """
    model = registry.make(spec, **overrides)
    if load_sd:
        load_parameters(model, spec.get("sd"))
    return model


def load_parameters(model: nn.Module, parameters: Mapping[str, Tensor]) -> None:
    """Fill `model` from a state dict but for derived buffers; InputError names the first wrong name or shape."""
    if not isinstance(parameters, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in parameters.items()
    ):
        raise InputError("the checkpoint's 'sd' is no mapping of parameter names to tensors")
    own = {name: value for name, value in model.state_dict().items() if not name.endswith(DERIVED)}
    given = {name: value for name, value in parameters.items() if not name.endswith(DERIVED)}
    for name in [*own, *given]:
        if name not in given and not name.endswith(UNUSED):
            raise InputError(f"the checkpoint lacks the parameter '{name}': it belongs to another model")
        if name not in own and not name.endswith(UNUSED):
            raise InputError(f"the checkpoint's parameter '{name}' is not in the model: it belongs to another one")
        if name in own and name in given and own[name].shape != given[name].shape:
            expected, found = tuple(own[name].shape), tuple(given[name].shape)
            raise InputError(f"parameter '{name}' should have the shape {expected} but the checkpoint has {found}")
    model.load_state_dict(given, strict=False)


def weights_hash(model: nn.Module) -> str:
    """Twelve hexadecimal digits that change with any parameter's name or value (SHA-256)."""
    digest = hashlib.sha256(b"" if model.state_dict() else repr(model).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
