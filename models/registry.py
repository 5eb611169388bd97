"""The registry of models, encoders and layers, under the names that the authors' configs and checkpoints use."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from utils.errors import InputError, shortened
from utils.registry import Registry

DERIVED = ("attn_mask", "relative_position_index", "escape_NaN")  # buffers in published files, made by us
# Constants that published programs keep as parameters and do not use; files of other programs lack them.
UNUSED = ("sub_mean.weight", "sub_mean.bias", "add_mean.weight", "add_mean.bias")
# `out_dim` of an MLP in published specs where another one follows: CiaoSR's imnet_k and imnet_v (64), LM-CiaoSR's
# imnet_v (256), the latent MLPs of LMF's variants (208, 288).
PUBLISHED_SIZES = (64, 208, 256, 288)
FOLDERS = tuple(f"{__package__}.{name}" for name in ("decoders", "encoders", "layers", "lerf", "resampling"))

registry = Registry("model", FOLDERS)
register = registry.register


def names(folder: str) -> list[str]:
    """Registry names of the models in a folder: `names("decoders")`, `names("encoders")`, `names("resampling")`."""
    return registry.names(f"{__package__}.{folder}")


def make(spec: Mapping[str, Any], load_sd: bool = False, **follows: Any) -> nn.Module:
    """Build the model that `spec` = `{name, args}` describes, once.

    `follows` are the arguments of a part that follow from the model around it. `load_sd=True` takes the parameters in
    `spec["sd"]`, as in the authors' checkpoints. Raises InputError for unknown names, for arguments that are unknown,
    of another type or range or contradict `follows`, and for parameters that do not fit the model.
    """
    if not load_sd:
        args = spec.get("args") if isinstance(spec, Mapping) else None
        if isinstance(args, Mapping) and args.get("out_dim") in PUBLISHED_SIZES and "out_dim" in follows:
            spec = {**spec, "args": {name: value for name, value in args.items() if name != "out_dim"}}
        return registry.make(spec, **follows)
    parameters = check_parameters(spec.get("sd"))
    with limited(parameters), _Unfilled():
        model = registry.make(spec)
    check_fit(model, parameters)
    own = model.state_dict()
    filled = {name: torch.zeros_like(value, device="cpu") for name, value in own.items() if name.endswith(UNUSED)}
    stored = _stored(parameters)
    filled |= {name: value.to(own[name].dtype).contiguous() for name, value in stored.items() if name in own}
    model.load_state_dict(filled, assign=True)
    return model


@contextmanager
def limited(parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """InputError as soon as modules made in the block have twice as many parameters as there are to fill them."""
    most_tensors = 2 * len(parameters) + 100
    most_numbers = 2 * sum(value.numel() for value in parameters.values()) + (1 << 16)
    tensors = numbers = 0

    def count(module: nn.Module, name: str, value: Tensor | None) -> None:
        nonlocal tensors, numbers
        tensors, numbers = tensors + 1, numbers + (0 if value is None else value.numel())
        if tensors > most_tensors or numbers > most_numbers:
            most = f"{most_tensors:,} parameters, or {most_numbers:,} numbers in them"
            raise InputError(f"this is a model of more than {most}: more than the checkpoint fills")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


class _Unfilled(TorchFunctionMode):
    """Parameters lie on the "meta" device and are not initialised. Computing there would load PyTorch's compiler."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros):
            kwargs["device"] = "meta"
        in_place = func.__name__.endswith("_") and not func.__name__.endswith("__")
        given = next(iter((*args, *kwargs.values())), None)
        if in_place and isinstance(given, Tensor) and given.is_meta and func is not Tensor.requires_grad_:
            return given
        return func(*args, **kwargs)


def load_parameters(model: nn.Module, parameters: Mapping[str, Tensor]) -> None:
    """Fill `model` from a state dict but for derived buffers; InputError names the first wrong name, shape or value."""
    check_fit(model, check_parameters(parameters))
    model.load_state_dict(_stored(parameters), strict=False)


def check_parameters(parameters: Any) -> Mapping[str, Tensor]:
    """`parameters`, if they are a state dict of finite numbers; InputError names the first that is not."""
    if not isinstance(parameters, Mapping) or not all(isinstance(name, str) for name in parameters):
        raise InputError("the checkpoint's 'sd' is no mapping of parameter names to tensors")
    for name, value in parameters.items():
        plain = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
        if not plain or value.is_complex() or value.is_quantized:
            raise InputError(f"the checkpoint's parameter {shortened(name)} is no plain tensor of numbers")
    storages = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in parameters.values()}
    if sum(value.nbytes for value in parameters.values()) > sum(storages.values()):
        raise InputError("the checkpoint's parameters are larger than what it holds for them")
    for name, value in parameters.items():
        if value.is_floating_point() and not value.float().isfinite().all():
            raise InputError(f"the checkpoint's parameter {shortened(name)} holds NaN or infinite values")
    return parameters


def check_fit(model: nn.Module, parameters: Mapping[str, Tensor]) -> None:
    """InputError names the first parameter of `model` that a state dict lacks, or of the state dict that does not
    fit."""
    own, given = _stored(model.state_dict()), _stored(parameters)
    for name in {**own, **given}:
        if name in own and name in given:
            expected, found = tuple(own[name].shape), tuple(given[name].shape)
            if expected != found:
                raise InputError(f"parameter '{name}' should have the shape {expected} but the checkpoint has {found}")
        elif not name.endswith(UNUSED):
            other = f"lacks the parameter '{name}'" if name in own else f"has a parameter {shortened(name)} too many"
            raise InputError(f"the checkpoint {other}: it belongs to another model")


def _stored(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without DERIVED buffers."""
    return {name: value for name, value in parameters.items() if not name.endswith(DERIVED)}


def weights_hash(model: nn.Module) -> str:
    """Twelve hexadecimal digits that change with any parameter's name or value (SHA-256)."""
    digest = hashlib.sha256(b"" if model.state_dict() else repr(model).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
