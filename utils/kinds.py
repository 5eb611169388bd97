"""What values of configs and arguments should be: one line for the user instead of a traceback later on."""

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from utils.errors import InputError, shortened

LARGEST = 1e15  # of any number: larger ones overflow what is computed from them


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
        given = "null" if value is None else shortened(value)
        raise InputError(f"{name} is {given}; expected {kind.words}{' or null' if optional else ''}")


def kind_of(annotation: Any) -> Kind:
    """The kind that a type annotation asks for: `int`, `X | None`, `Sequence[int]`, `tuple[int, int]`, `Literal["a",
    "b"]`, a class, or any `Annotated[type, kind]`. TypeError for one that says nothing of values."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return next(part for part in parts if isinstance(part, Kind))
    if origin in (Union, types.UnionType):
        return _any_of([kind_of(part) for part in parts])
    if origin is Literal:
        words = " or ".join(shortened(part) for part in parts)
        return Kind(words, lambda v: any(type(v) is type(part) and v == part for part in parts))
    if origin is Sequence:
        each = kind_of(parts[0])
        return Kind(f"a list, of which each is {each.words}", lambda v: _is_list(v) and all(map(each.fits, v)))
    if origin is tuple:
        kinds = [kind_of(part) for part in parts]
        words = f"a list of {len(kinds)}: {', '.join(kind.words for kind in kinds)}"
        return Kind(words, lambda v: _is_list(v) and len(v) == len(kinds) and all(map(_fits, kinds, v)))
    plain = origin or annotation
    if plain in PLAIN:
        return PLAIN[plain]
    if not isinstance(plain, type):
        raise TypeError(f"the annotation {annotation!r} says nothing of values")
    return Kind(f"a {plain.__name__}", lambda v: isinstance(v, plain))


def _fits(kind: Kind, value: Any) -> bool:
    return kind.fits(value)


def _any_of(kinds: Sequence[Kind]) -> Kind:
    return Kind(" or ".join(kind.words for kind in kinds), lambda v: any(kind.fits(v) for kind in kinds))


def whole(minimum: int, maximum: int | None = None) -> Kind:
    """A whole number from `minimum`, and to `maximum` where one is given; true and 2.0 are none."""
    words = f"a whole number from {minimum}" + ("" if maximum is None else f" to {maximum}")
    largest = LARGEST if maximum is None else maximum
    return Kind(words, lambda v: type(v) is int and minimum <= v <= largest)


def between(minimum: float, maximum: float) -> Kind:
    """A number from `minimum` to `maximum`."""
    return Kind(f"a number from {minimum:g} to {maximum:g}", lambda v: _is_number(v) and minimum <= v <= maximum)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def _is_path(value: Any) -> bool:
    return isinstance(value, str | Path) and value != "" and "\0" not in str(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: _is_list(v) and len(v) > 0 and all(map(fits, v))


def _is_side(value: Any) -> bool:
    return type(value) is int and 1 <= value <= LARGEST


def _is_scale(value: Any) -> bool:
    factors = value if _is_list(value) and len(value) == 2 else [value]
    return all(_is_number(factor) and factor > 0 for factor in factors)


def _is_folder_name(value: Any) -> bool:
    return isinstance(value, str) and value not in ("", ".", "..") and not set(value) & set("/\\\0")


NUMBER = Kind("a number", _is_number)
NUMBERS = Kind("a list of numbers", _is_list_of(_is_number))
WHOLE_NUMBERS = Kind("a list of whole numbers from 0", _is_list_of(whole(0).fits))
POSITIVE = Kind("a number above 0", lambda v: _is_number(v) and v > 0)
SCALE = Kind("a number above 0 or [height, width]", _is_scale)
SCALES = Kind("a list of scales such as 2 or 3x1.5", _is_list_of(lambda v: isinstance(v, str) or _is_scale(v)))
TEXTS = Kind("a list of texts", _is_list_of(lambda v: isinstance(v, str)))
SWITCH = Kind("true or false", lambda v: isinstance(v, bool))
TEXT = Kind("text", lambda v: isinstance(v, str))
MAPPING = Kind("a mapping of keys to values", lambda v: isinstance(v, Mapping))
PATH = Kind("a path", _is_path)
FOLDERS = Kind("a folder or a list of folders", lambda v: _is_path(v) or _is_list_of(_is_path)(v))
FOLDER_NAME = Kind("the name of one folder", _is_folder_name)
FOLDER_NAMES = Kind("a list of names of folders", _is_list_of(_is_folder_name))
SIZE = Kind(
    "a side or [height, width], whole numbers from 1",
    lambda v: _is_side(v) or (_is_list_of(_is_side)(v) and len(v) == 2),
)

PLAIN: dict[Any, Kind] = {
    int: Kind("a whole number", lambda v: type(v) is int and -LARGEST <= v <= LARGEST),
    float: NUMBER,
    bool: SWITCH,
    str: TEXT,
    Path: PATH,
    Mapping: MAPPING,
    types.NoneType: Kind("null", lambda v: v is None),
    Any: Kind("anything", lambda v: True),
}

# Annotations of arguments that come from configs and checkpoints.
Count = Annotated[int, whole(1)]
Even = Annotated[int, Kind("an even whole number from 2", lambda v: _is_side(v) and v % 2 == 0)]
Counts = Annotated[Sequence[int], Kind("a list of whole numbers from 1", _is_list_of(_is_side))]
Positive = Annotated[float, POSITIVE]
Share = Annotated[float, between(0, 1)]
FilePath = Annotated[str | Path, PATH]
FolderPaths = Annotated[str | Path | Sequence[str | Path], FOLDERS]
ScaleLike = Annotated[float | Sequence[float], SCALE]
SizeLike = Annotated[int | tuple[int, int], SIZE]
