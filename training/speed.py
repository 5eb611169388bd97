"""Precision, memory format, compilation and several processes of a training."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from utils import processes
from utils.errors import InputError, nearest_name, shortened

PRECISIONS = {
    "float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16
}  # fmt: skip
MODES = ("default", "reduce-overhead", "max-autotune")  # of torch.compile; the last two record CUDA graphs


def precision_of(config: Mapping[str, Any], device: torch.device) -> torch.dtype:
    """The number format of the config's `precision`; InputError for one that the device cannot train in. `tf32` lets
    the process multiply float32 matrices and convolve in TF32."""
    name = config.get("precision") or "float32"
    if name not in PRECISIONS:
        raise InputError(f"unknown precision '{name}'; {nearest_name(name, PRECISIONS)}")
    if name in ("tf32", "float16") and device.type != "cuda":
        raise InputError(f"precision {name} trains on CUDA devices only, not on {device}; set precision: bfloat16")
    if name == "tf32":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    if name == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise InputError(f"precision bfloat16: {device} does not compute in it; set precision: float16")
    return PRECISIONS[name]


def make_scaler(precision: torch.dtype, device: torch.device) -> torch.amp.GradScaler:
    """Scales float16 losses so that gradients do not vanish; does nothing for other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == torch.float16)


def autocast(precision: torch.dtype, device: torch.device) -> AbstractContextManager:
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)


def memory_format(config: Mapping[str, Any]) -> torch.memory_format:
    """That of pictures and convolutions: `channels_last` unless the config says false."""
    return torch.contiguous_format if config.get("channels_last") is False else torch.channels_last


@contextmanager
def on_trial(model: nn.Module) -> Iterator[None]:
    """Within the block the model may be tried forward and backward; then its buffers are as before, and gradients
    gone."""
    buffers = copy.deepcopy(dict(model.named_buffers()))
    training = model.training
    model.train()
    try:
        yield
    finally:
        model.train(training)
        model.zero_grad()
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])


def backward(network: nn.Module, example: Sequence[Tensor], precision: torch.dtype) -> None:
    """Forward and backward on an `example` of the network's input."""
    with autocast(precision, example[0].device):
        values = network(*example)
    values.float().sum().backward()


def compiled(
    model: nn.Module, example: Sequence[Tensor], precision: torch.dtype, mode: bool | str = True
) -> tuple[nn.Module, str | None]:
    """The model compiled by PyTorch, in one of MODES, where that works on an `example` of its input, else the model
    itself and a notice."""
    with on_trial(model):
        try:
            network = torch.compile(model, **({} if mode is True else {"mode": mode}))
            backward(network, example, precision)
        except (Exception, SystemExit) as error:  # whatever compilers, of Python, C++ or Triton, may raise
            reason = shortened(str(error).strip().partition("\n")[0])
            return model, f"compile: not possible here, training goes on without ({type(error).__name__}: {reason})"
    return network, None


def in_processes(
    model: nn.Module, network: nn.Module, example: Sequence[Tensor], precision: torch.dtype
) -> DistributedDataParallel:
    """The `network`, which calls the model, with its gradients averaged over the processes of the job.

    After its first backward it puts the gradients into the order in which they came. It does so here, on an `example`,
    so that a resumed run adds up those of all processes as the uninterrupted one does, bit for bit.
    """
    with on_trial(model), processes.answering():
        backward(network, example, precision)
        unused = any(p.requires_grad and p.grad is None for p in model.parameters())
        shared = DistributedDataParallel(network, find_unused_parameters=unused)
        backward(shared, example, precision)
    return shared
