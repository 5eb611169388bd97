"""Changes of files: bytes of any file, values of a description."""

import copy
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

WRONG_TYPES: list[Any] = [
    "false", "off", "010", "1:30", "", "x" * 100_000, "a\0b", "/dev/zero", "..", float("nan"), float("inf"),
    -1, 10**9, 2**70, 1e300, True, [], ["a"], [1, [2]], {}, {"name": "lmliif"}, {"a": {"b": 1}},
]  # fmt: skip
KEYS: list[Any] = ["name", "args", "sd", "extends", "out_dim", "x" * 1000, "", "a/b", "é"]


def change_bytes(path: Path, random: Random) -> str:
    """Damage a file as disks, downloads and enemies do; says how."""
    content = bytearray(path.read_bytes())
    place = random.randrange(max(1, len(content)))
    kind = random.choice(["flip", "flip", "flip", "cut", "insert", "zeros", "copy", "empty", "prefix"])
    if kind == "flip" and content:
        content[place] ^= 1 << random.randrange(8)
    elif kind == "cut":
        del content[place:]
    elif kind == "insert":
        content[place:place] = random.randbytes(random.choice([1, 4, 64]))
    elif kind == "zeros":
        content[place : place + 32] = bytes(len(content[place : place + 32]))
    elif kind == "copy":
        source = random.randrange(max(1, len(content)))
        content[place : place + 16] = content[source : source + 16]
    elif kind == "empty":
        content.clear()
    else:
        content = random.choice([b"PK\x03\x04", b"\x93NUMPY", b"\x80\x02", b"{", b"\xff\xfe"]) + content
    path.write_bytes(content)
    return f"{path.name}: {kind} at {place}"


def places(value: Any, here: tuple = ()) -> list[tuple]:
    """Paths to all entries of nested dicts and lists."""
    if isinstance(value, dict):
        entries = list(value.items())
    else:
        entries = list(enumerate(value)) if isinstance(value, list) else []
    return [path for key, entry in entries for path in ((*here, key), *places(entry, (*here, key)))]


def change_value(value: Any, random: Random) -> tuple[Any, str, tuple, Any]:
    """A copy of a description with one entry replaced, removed, renamed or added; how, where, and the new entry."""
    value = copy.deepcopy(value)
    where = random.choice(places(value))
    holder = value
    for key in where[:-1]:
        holder = holder[key]
    old = holder[where[-1]]
    kind = random.choice(["replace", "replace", "replace", "remove", "add", "rename"])
    new = None
    if kind == "replace" and isinstance(old, Tensor):
        new = holder[where[-1]] = change_tensor(old, random)
    elif kind == "replace":
        new = holder[where[-1]] = copy.deepcopy(random.choice([*WRONG_TYPES, None]))
    elif kind == "remove":
        del holder[where[-1]]
    elif isinstance(holder, dict):
        holder[random.choice(KEYS)] = holder.pop(where[-1]) if kind == "rename" else random.choice(WRONG_TYPES)
    else:
        holder.append(random.choice(WRONG_TYPES))
    return value, f"{kind} {'.'.join(map(str, where))} by {repr(new)[:40]}", where, new


def change_tensor(tensor: Tensor, random: Random) -> Any:
    """Another tensor in its place, or something that is none."""
    changes: list[Callable[[], Any]] = [
        lambda: tensor * float("nan"),
        lambda: tensor + float("inf"),
        lambda: tensor.to(torch.complex64),
        lambda: tensor.double() + 1e300,
        lambda: tensor[..., None],
        lambda: tensor.flatten()[:1],
        lambda: tensor.new_zeros(1).expand([max(1, 512 * n) for n in tensor.shape]),
        lambda: tensor.new_zeros(1).expand(tensor.shape),
        lambda: tensor.to_sparse(),
        lambda: tensor.to("meta"),
        lambda: tensor > 0,
        lambda: tensor.tolist(),
        lambda: tensor.half(),
    ]
    return random.choice(changes)()
