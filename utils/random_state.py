"""Random numbers that can be repeated."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def repeatable(seed: int = 0) -> Iterator[None]:
    """Random numbers that follow from `seed` inside the block, the outer ones untouched: validation draws the same
    samples each time, and a training item does not depend on which process makes it."""
    outer, outer_torch = random.getstate(), torch.get_rng_state()
    try:
        random.seed(seed)
        torch.default_generator.manual_seed(seed)  # the CPU's only
        yield
    finally:
        random.setstate(outer)
        torch.set_rng_state(outer_torch)


def mixed(*numbers: int) -> int:
    """One seed of several whole numbers."""
    return hash(numbers) % 2**63


def seed_everything(*numbers: int) -> None:
    """Seed Python's and PyTorch's random numbers, those of GPUs included."""
    random.seed(mixed(*numbers))
    torch.manual_seed(mixed(*numbers))
