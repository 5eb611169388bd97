"""Random numbers that can be repeated."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def repeatable(seed: int = 0) -> Iterator[None]:
    """Fixed random numbers inside the block, the outer ones untouched: validation draws the same samples each time."""
    outer = random.getstate()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        torch.manual_seed(seed)
        yield
    random.setstate(outer)


def seed_everything(*numbers: int) -> None:
    """Seed Python's and PyTorch's random numbers (from which data workers derive theirs)."""
    seed = hash(numbers) % 2**63
    random.seed(seed)
    torch.manual_seed(seed)
