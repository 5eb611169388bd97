"""A bound on what a description may build: it is built without memory first, and stopped when it grows too large."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from utils.errors import InputError


class _Unfilled(TorchFunctionMode):
    """Parameters take no memory, and what would fill them is left out.

    Only they lie on PyTorch's "meta" device: computing anything there loads its compiler, which takes a second.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros):
            kwargs["device"] = "meta"
        in_place = func.__name__.endswith("_") and not func.__name__.endswith("__")
        filled = next(iter((*args, *kwargs.values())), None)
        if in_place and isinstance(filled, Tensor) and filled.is_meta and func is not Tensor.requires_grad_:
            return filled
        return func(*args, **kwargs)


_within: ContextVar[bool] = ContextVar("within", default=False)


@dataclass(frozen=True)
class Budget:
    """How many parameters a model may have, and how many numbers in them and in its buffers."""

    parameters: int = 4_000
    numbers: int = 1 << 28  # 1 GiB in float32
    source: str = "any model here may have"

    @property
    def buffered(self) -> int:
        """Numbers in buffers, which follow from the architecture: for SwinIR's windows more than in parameters."""
        return 16 * self.numbers + (1 << 20)


def planning() -> bool:
    """Whether a plan, or what was planned, is being built: its parts need no plan of their own."""
    return _within.get()


@contextmanager
def building() -> Iterator[None]:
    """Where `planning` is true."""
    outer = _within.set(True)
    try:
        yield
    finally:
        _within.reset(outer)


@contextmanager
def plan(budget: Budget) -> Iterator[None]:
    """Modules built inside take no memory; InputError as soon as they are larger than `budget`."""
    built = {"parameters": 0, "numbers": 0, "buffered": 0}

    def add(key: str, amount: int) -> None:
        built[key] += amount
        if built[key] > getattr(budget, key):
            unit = "weights and biases (tensors)" if key == "parameters" else "numbers in its parameters or buffers"
            raise InputError(f"this is a model of more than {getattr(budget, key):,} {unit}: more than {budget.source}")

    def count_parameter(module: nn.Module, name: str, value: Tensor | None) -> None:
        add("parameters", value is not None)
        add("numbers", 0 if value is None else value.numel())

    def count_buffer(module: nn.Module, name: str, value: Tensor | None) -> None:
        add("buffered", 0 if value is None else value.numel())

    with ExitStack() as stack:
        for handle in (
            register_module_parameter_registration_hook(count_parameter),
            register_module_buffer_registration_hook(count_buffer),
        ):
            stack.callback(handle.remove)
        stack.enter_context(building())
        stack.enter_context(_Unfilled())
        yield
