"""Who listens to the progress of long work, in tests."""

from collections.abc import Iterator
from contextlib import contextmanager

from utils.progress import Advance


class Listener:
    """Remembers stages and what they come to, what is counted in each, and how many are over."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float]] = []
        self.counted: list[list[float]] = []
        self.ended = 0

    @contextmanager
    def __call__(self, name: str, total: float) -> Iterator[Advance]:
        self.stages.append((name, total))
        self.counted.append([])
        try:
            yield self.counted[-1].append
        finally:
            self.ended += 1
