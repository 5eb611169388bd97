"""How a model is computed in training: precision, memory format, compiled, and in several processes."""

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.parts import choose
from utils import processes
from utils.errors import InputError, shortened

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def precision_of(config: Mapping[str, Any], device: torch.device) -> torch.dtype:
    """The number format of the config's `precision`; InputError for one that the device cannot train in."""
    precision = choose("precision", config.get("precision") or "float32", PRECISIONS)
    if precision == torch.float16 and device.type != "cuda":
        raise InputError(f"precision float16 trains on CUDA devices only, not on {device}; set precision: bfloat16")
    if precision == torch.bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise InputError(f"precision bfloat16: {device} does not compute in it; set precision: float16")
    return precision


def make_scaler(precision: torch.dtype, device: torch.device) -> torch.amp.GradScaler:
    """What keeps float16 gradients from vanishing, by a factor that it adapts; for other precisions it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == torch.float16)


def autocast(precision: torch.dtype, device: torch.device) -> AbstractContextManager:
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def memory_format(config: Mapping[str, Any]) -> torch.memory_format:
    """That of pictures and convolutions: `channels_last` unless the config says false."""
    return torch.contiguous_format if config.get("channels_last") is False else torch.channels_last


def compiled(model: nn.Module, example: tuple[Tensor, ...], precision: torch.dtype) -> tuple[nn.Module, str | None]:
    """The model compiled by PyTorch, tried forward and backward on an `example` of its input; where that fails the
    model itself, and a notice. Both share their parameters; buffers and gradients are as before."""
    buffers = copy.deepcopy(dict(model.named_buffers()))
    training = model.training
    try:
        network = torch.compile(model)
        with autocast(precision, example[0].device):
            network.train()(*example).float().sum().backward()
        return network, None
    except (Exception, SystemExit) as error:  # whatever compilers, of Python, C++ or Triton, may raise
        reason = str(error).strip().partition("\n")[0]
        return model, f"compile: not possible here, training goes on without ({shortened(reason)})"
    finally:
        model.zero_grad()
        model.train(training)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])


def in_processes(network: nn.Module) -> nn.Module:
    """The network with its gradients averaged over the processes of the job.

    `find_unused_parameters` lets a model leave some of its parameters alone. It also keeps the gradients in the places
    that they are given first, so that a resumed run adds those of all processes in the same order.
    """
    return DistributedDataParallel(network, find_unused_parameters=True) if processes.count() > 1 else network


def unsynchronised(network: nn.Module, last: bool) -> AbstractContextManager:
    """Within the block gradients stay in their process, unless this is the `last` part of a batch."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) and not last else nullcontext()
