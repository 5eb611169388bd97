"""The hash of a checkpoint's content, of tensors and arrays alike; without PyTorch unless there are tensors."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from utils.errors import InputError

HASH = "content_hash"
MOST_VALUES = 1_000_000  # in a checkpoint


def content_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 of every value of a checkpoint with its place in it, the same for an array as for a tensor; InputError
    for more values than one ever has."""
    digest, values = hashlib.sha256(), 0

    def add(value: Any) -> None:
        nonlocal values
        values += 1
        if values > MOST_VALUES:
            raise InputError(f"it holds more than {MOST_VALUES:,} values; expected a checkpoint")
        if isinstance(value, np.ndarray):
            digest.update(f"torch.{value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
        elif hasattr(value, "detach"):  # a tensor
            import torch

            digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        elif isinstance(value, Mapping | list | tuple):
            digest.update(f"{'{' if isinstance(value, Mapping) else '['}{len(value)}".encode())
            for part in (part for pair in value.items() for part in pair) if isinstance(value, Mapping) else value:
                add(part)
        else:
            digest.update(repr(value).encode())

    add(content)
    return digest.hexdigest()


def check_hash(content: dict[str, Any], found: str) -> None:
    """Take the hash, where there is one, out of `content`; InputError when it is another than was `found`."""
    if content.pop(HASH, found) != found:
        raise InputError("it is damaged or was changed: its content has another hash; copy or download it again")
