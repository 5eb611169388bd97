"""One bound on the memory of all that is kept: what was used least recently goes first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from threading import Lock, RLock
from typing import Any

import numpy as np

from web.settings import Refused

Key = tuple[Hashable, ...]
ENTRY = 512  # bytes of an entry beside its content


def size_of(value: Any) -> int:
    """Bytes of the arrays, tensors and texts in a value of dataclasses and sequences; metadata included. What tensors
    share counts once."""
    return _size(value, set())


def _size(value: Any, counted: set[int]) -> int:
    if hasattr(value, "untyped_storage"):  # a tensor; decoders of uploads do without PyTorch
        storage = value.untyped_storage()
        new = storage.data_ptr() not in counted
        counted.add(storage.data_ptr())
        return storage.nbytes() if new else 0
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, dict):
        value = list(value.items())
    elif is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    return sum(_size(part, counted) for part in value) if isinstance(value, list | tuple) else 8


class Budget:
    """Values by keys, together at most `limit` bytes; `highest` is the most that was ever used.

    Safe to use from several threads.
    """

    def __init__(self, limit: int):
        self.limit, self.highest = limit, 0
        self._entries: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._kept = 0
        self._reserved = 0
        self._makers: dict[Key, tuple[Lock, int]] = {}
        self._lock = RLock()

    @property
    def used(self) -> int:
        """Bytes that are kept or reserved."""
        return self._kept + self._reserved

    def get(self, key: Key) -> Any:
        """The value of a key, which now is the last one used; None when there is none."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def keep(self, key: Key, value: Any) -> None:
        """Keep a value, and drop others for it; Refused when it does not fit."""
        size = size_of(value) + ENTRY
        with self._lock:
            self._kept -= self._entries.pop(key, (None, 0))[1]
            self._make_room(size)
            self._entries[key] = value, size
            self._kept += size
            self.highest = max(self.highest, self.used)

    def kept(self, key: Key, make: Callable[[], Any], largest: float = 1.0) -> Any:
        """The value of a key, made where it is not kept; not kept when it needs more than `largest` of the budget."""
        value = self.get(key)
        if value is None:
            with self._making(key):
                value = self.get(key)
                if value is None:
                    value = make()
                    if size_of(value) + ENTRY <= largest * (self.limit - self._reserved):
                        self.keep(key, value)
        return value

    @contextmanager
    def _making(self, key: Key) -> Iterator[None]:
        """One thread at a time makes the value of a key; the others wait, and find it."""
        with self._lock:
            lock, waiting = self._makers.get(key, (Lock(), 0))
            self._makers[key] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, waiting = self._makers.pop(key)
                if waiting > 1:
                    self._makers[key] = lock, waiting - 1

    def drop(self, start: Key) -> None:
        """Drop all whose key begins so."""
        with self._lock:
            for key in [key for key in self._entries if key[: len(start)] == start]:
                self._kept -= self._entries.pop(key)[1]

    def reserve(self, size: int) -> None:
        """Hold `size` bytes for work until they are released; Refused when there are not so many."""
        with self._lock:
            self._make_room(size)
            self._reserved += size
            self.highest = max(self.highest, self.used)

    def release(self, size: int) -> None:
        with self._lock:
            self._reserved -= size

    @contextmanager
    def working(self, size: int) -> Iterator[None]:
        """`reserve` for a block."""
        self.reserve(size)
        try:
            yield
        finally:
            self.release(size)

    def _make_room(self, size: int) -> None:
        if size > self.limit - self._reserved:
            raise Refused(
                f"this needs {size / 2**20:.0f} MiB, and {(self.limit - self._reserved) / 2**20:.0f} MiB of --memory "
                "are free; choose a smaller picture or size",
                413,
            )
        while self._kept + size > self.limit - self._reserved:
            _, (_, freed) = self._entries.popitem(last=False)
            self._kept -= freed
