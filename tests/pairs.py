"""Parameters of which not every combination runs other lines: `make test` tries every two values together, .ci/run all
combinations (marker `thorough`)."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import pytest


def paired(*axes: Sequence[Any]) -> list[Any]:
    """All combinations of the axes' values, for `pytest.mark.parametrize`; marked are those without which every pair of
    values of two axes still occurs."""
    every = list(product(*(range(len(axis)) for axis in axes)))
    pairs_of = {chosen: set(combinations(enumerate(chosen), 2)) for chosen in every}
    missing, kept = set().union(*pairs_of.values()), set()
    while missing:
        best = max(every, key=lambda chosen: len(pairs_of[chosen] & missing))
        missing -= pairs_of[best]
        kept.add(best)
    return [
        pytest.param(
            *(axis[index] for axis, index in zip(axes, chosen, strict=True)),
            marks=() if chosen in kept else pytest.mark.thorough,
            id="-".join(_said(axis[index]) for axis, index in zip(axes, chosen, strict=True)),
        )
        for chosen in every
    ]


def _said(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
