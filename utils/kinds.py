"""What values of configs and arguments should be: one line for the user instead of a traceback later on."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import InputError


@dataclass(frozen=True)
class Kind:
    """What a value should be: in words, and as a test."""

    words: str
    fits: Callable[[Any], bool]


def check(name: str, value: Any, kind: Kind, optional: bool = False) -> None:
    """InputError naming `name` unless `value` is of its kind, or None when `optional`."""
    if value is None and optional:
        return
    if not kind.fits(value):
        given = "null" if value is None else repr(value)
        raise InputError(f"{name} is {given}; expected {kind.words}{' or null' if optional else ''}")


def whole(minimum: int) -> Kind:
    """A whole number from `minimum`; true and 2.0 are none."""
    return Kind(f"a whole number from {minimum}", lambda v: type(v) is int and v >= minimum)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_path(value: Any) -> bool:
    return isinstance(value, str | Path) and value != ""


def _is_list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, Sequence) and not isinstance(v, str) and len(v) > 0 and all(map(fits, v))


def _is_side(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_scale(value: Any) -> bool:
    factors = value if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2 else [value]
    return all(_is_number(factor) and math.isfinite(factor) and factor > 0 for factor in factors)


NUMBER = Kind("a number", _is_number)
NUMBERS = Kind("a list of numbers", _is_list_of(_is_number))
POSITIVE = Kind("a number above 0", lambda v: _is_number(v) and math.isfinite(v) and v > 0)
SCALE = Kind("a number above 0 or [height, width]", _is_scale)
SCALES = Kind("a list of scales such as 2 or 3x1.5", _is_list_of(lambda v: isinstance(v, str) or _is_scale(v)))
TEXTS = Kind("a list of texts", _is_list_of(lambda v: isinstance(v, str)))
SWITCH = Kind("true or false", lambda v: isinstance(v, bool))
TEXT = Kind("text", lambda v: isinstance(v, str))
MAPPING = Kind("a mapping of keys to values", lambda v: isinstance(v, Mapping))
PATH = Kind("a path", _is_path)
FOLDERS = Kind("a folder or a list of folders", lambda v: _is_path(v) or _is_list_of(_is_path)(v))
SIZE = Kind(
    "a side or [height, width], whole numbers from 1",
    lambda v: _is_side(v) or (_is_list_of(_is_side)(v) and len(v) == 2),
)
