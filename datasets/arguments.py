"""Checks of the arguments that configs give to data sets: one line for the user instead of a traceback later on."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from utils.coords import Size
from utils.errors import InputError


def check_whole_number(name: str, value: Any, minimum: int = 1, optional: bool = False) -> None:
    """InputError unless `value` is a whole number from `minimum`, or None when `optional`; true and 2.0 are none."""
    if value is None and optional:
        return
    if not _is_whole_number(value) or value < minimum:
        raise _mistake(name, value, f"a whole number from {minimum}", optional)


def check_positive_number(name: str, value: Any, optional: bool = False) -> None:
    """InputError unless `value` is a finite number above 0, or None when `optional`."""
    if value is None and optional:
        return
    if not isinstance(value, Real) or isinstance(value, bool) or not (math.isfinite(value) and value > 0):
        raise _mistake(name, value, "a number above 0", optional)


def check_switch(name: str, value: Any) -> None:
    """InputError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise _mistake(name, value, "true or false")


def check_path(name: str, value: Any, optional: bool = False) -> None:
    """InputError unless `value` is a path, or None when `optional`."""
    if value is None and optional:
        return
    if not _is_path(value):
        raise _mistake(name, value, "a path", optional)


def check_folders(name: str, value: Any) -> None:
    """InputError unless `value` is the path of a folder or a list of such; whether it exists is not looked at."""
    several = [value] if _is_path(value) else value
    if not isinstance(several, Sequence) or not several or not all(map(_is_path, several)):
        raise _mistake(name, value, "a folder or a list of folders")


def checked_size(name: str, value: Any) -> Size:
    """(height, width) that `value`, a side or a pair of sides, means; InputError when it is neither."""
    sides = (value, value) if _is_whole_number(value) else value
    is_pair = isinstance(sides, Sequence) and len(sides) == 2 and all(map(_is_whole_number, sides))
    if not is_pair or min(sides) < 1:
        raise _mistake(name, value, "a side or [height, width], whole numbers from 1")
    return sides[0], sides[1]


def _is_whole_number(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_path(value: Any) -> bool:
    return isinstance(value, str | Path) and value != ""


def _mistake(name: str, value: Any, expected: str, optional: bool = False) -> InputError:
    given = "null" if value is None else repr(value)
    return InputError(f"{name} is {given}; expected {expected}{' or null' if optional else ''}")
