"""Native routines: C++ for CPUs with plain arrays in and out, compiled on first use; without them PyTorch computes."""

import functools
import importlib.util
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from models.native import compiling
from models.native.calls import Library
from utils.errors import InputError
from utils.registry import BACKENDS

FUSED = ("lmf", "resampler")  # native routines that are Triton kernels, too

_outcomes: dict[str, Library | compiling.BuildError] = {}
_lock = threading.Lock()
_backend = ContextVar("backend", default="auto")


def library(name: str) -> Library | None:
    """The routines of NAME.cpp, or None where they are not available; the first such call of a process says why."""
    outcome = _outcome(name)
    if isinstance(outcome, compiling.BuildError):
        _tell(str(outcome))
        return None
    return outcome


@contextmanager
def using(backend: str) -> Iterator[None]:
    """Within the block, what computes: one of BACKENDS, see `choose` for a CPU and `fuses` for a GPU."""
    token = _backend.set(backend)
    try:
        yield
    finally:
        _backend.reset(token)


def choose(name: str, *tensors: Tensor | None) -> Library | None:
    """The routines of NAME.cpp if the backend in use and the tensors of a call allow them; None means: use PyTorch.

    Routines take float32 on the CPU and have no gradients. "auto" uses them for such tensors where they are available,
    "torch" never does, and "native" raises InputError where they cannot be used.
    """
    backend = _backend.get()
    if backend in ("torch", "triton"):
        return None
    given = [tensor for tensor in tensors if tensor is not None]
    reason = None
    if any(tensor.device.type != "cpu" or tensor.dtype != torch.float32 for tensor in given):
        reason = "it computes float32 on the CPU"
    elif torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        reason = "it has no gradients"
    if backend == "auto":
        return None if reason else library(name)
    if backend != "native":
        raise InputError(f"unknown backend '{backend}'; known are: {', '.join(BACKENDS)}")
    outcome = compiling.BuildError(reason) if reason else _outcome(name)
    if isinstance(outcome, compiling.BuildError):
        raise InputError(f"backend 'native' is not possible here: {outcome}")
    return outcome


def fuses(*tensors: Tensor | None) -> bool:
    """Whether Triton's kernels compute a call with these tensors: float32 on a CUDA device, by backend "auto" where
    Triton is installed, as it is with PyTorch on Linux, and by "triton", which raises InputError where it cannot.

    Triton's interpreter (TRITON_INTERPRET=1) computes on a CPU what a GPU would, for tests.
    """
    backend = _backend.get()
    if backend not in ("auto", "triton"):
        return False
    given = [tensor for tensor in tensors if tensor is not None]
    reason = None
    if importlib.util.find_spec("triton") is None:
        reason = "Triton is not installed; it comes with PyTorch for CUDA on Linux"
    elif any(tensor.dtype != torch.float32 for tensor in given):
        reason = "it computes float32"
    elif backend == "auto" or os.environ.get("TRITON_INTERPRET") != "1":
        cuda = torch.cuda.is_available() and all(tensor.device.type == "cuda" for tensor in given)
        reason = None if cuda else "it computes on CUDA devices"
    if reason and backend == "triton":
        raise InputError(f"backend 'triton' is not possible here: {reason}; use auto or torch")
    return reason is None


def check(backend: str, name: str | None) -> None:
    """InputError when `backend` is not possible for a model with the routines of NAME.cpp (None: it has none)."""
    if backend == "triton" and name not in FUSED:
        raise InputError("backend 'triton' is not possible here: this model has no Triton kernels; use auto or torch")
    if backend == "native" and name is None:
        raise InputError("backend 'native' is not possible here: this model has no native routines; use auto or torch")
    if backend != "auto":
        with using(backend):
            choose(name or "")


def _outcome(name: str) -> Library | compiling.BuildError:
    """The library, or why there is none; tried once per process."""
    with _lock:
        if name not in _outcomes:
            try:
                _outcomes[name] = Library(compiling.load(name))
            except compiling.BuildError as error:
                _outcomes[name] = error
        return _outcomes[name]


@functools.cache
def _tell(reason: str) -> None:
    """One line on stderr, once."""
    logging.getLogger("continua").warning("native routines not used, PyTorch instead (slower): %s", reason)
