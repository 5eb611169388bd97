"""Configs: YAML with `extends:`, command-line overrides, and checks of keys and values."""

import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from glob import glob
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

import yaml

from utils.errors import InputError, nearest_name, shortened
from utils.files import from_anywhere, read_text

VARIANTS = "variants.yaml"  # configs of its folder, {name without ending: config}: each is a change of another one
LARGEST = 1e15  # of any number: larger ones overflow what is computed from them


@dataclass(frozen=True)
class Check:
    """A condition on a value: in words, and as a predicate."""

    words: str
    fits: Callable[[Any], bool]


def check(name: str, value: Any, kind: Check, optional: bool = False) -> None:
    """InputError naming `name` unless `value` passes the check; None passes when `optional`."""
    if value is None and optional:
        return
    if not kind.fits(value):
        given = "null" if value is None else shortened(value)
        raise InputError(f"{name} is {given}; expected {kind.words}{' or null' if optional else ''}")


def check_of(annotation: Any) -> Check:
    """The check that a type annotation implies: `int`, `X | None`, `Sequence[int]`, `tuple[int, int]`, `Literal["a",
    "b"]`, a class, or any `Annotated[type, check]`. TypeError for other annotations."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return next(part for part in parts if isinstance(part, Check))
    if origin in (Union, types.UnionType):
        kinds = [check_of(part) for part in parts]
        return Check(" or ".join(kind.words for kind in kinds), lambda v: any(kind.fits(v) for kind in kinds))
    if origin is Literal:
        words = " or ".join(shortened(part) for part in parts)
        return Check(words, lambda v: any(type(v) is type(part) and v == part for part in parts))
    if origin is Sequence:
        each = check_of(parts[0])
        return Check(f"a list, of which each is {each.words}", lambda v: _is_list(v) and all(map(each.fits, v)))
    if origin is tuple:
        kinds = [check_of(part) for part in parts]
        words = f"a list of {len(kinds)}: {', '.join(kind.words for kind in kinds)}"
        fits = lambda v: all(kind.fits(part) for kind, part in zip(kinds, v, strict=True))  # noqa: E731
        return Check(words, lambda v: _is_list(v) and len(v) == len(kinds) and fits(v))
    plain = origin or annotation
    if plain in PLAIN:
        return PLAIN[plain]
    if not isinstance(plain, type):
        raise TypeError(f"the annotation {annotation!r} says nothing of values")
    return Check(f"a {plain.__name__}", lambda v: isinstance(v, plain))


def whole(minimum: int, maximum: int | None = None) -> Check:
    """A whole number from `minimum` to `maximum`, if given. `True` and `2.0` are rejected."""
    words = f"a whole number from {minimum}" + ("" if maximum is None else f" to {maximum}")
    largest = LARGEST if maximum is None else maximum
    return Check(words, lambda v: type(v) is int and minimum <= v <= largest)


def between(minimum: float, maximum: float) -> Check:
    """A number from `minimum` to `maximum`."""
    return Check(f"a number from {minimum:g} to {maximum:g}", lambda v: NUMBER.fits(v) and minimum <= v <= maximum)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _list_of(each: Check, words: str) -> Check:
    return Check(words, lambda v: _is_list(v) and len(v) > 0 and all(map(each.fits, v)))


def _or_pair(each: Check, words: str) -> Check:
    return Check(words, lambda v: each.fits(v) or (_is_list(v) and len(v) == 2 and all(map(each.fits, v))))


NUMBER = Check("a number", lambda v: isinstance(v, int | float) and type(v) is not bool and -LARGEST <= v <= LARGEST)
NUMBERS = _list_of(NUMBER, "a list of numbers")
WHOLE_NUMBERS = _list_of(whole(0), "a list of whole numbers from 0")
POSITIVE = Check("a number above 0", lambda v: NUMBER.fits(v) and v > 0)
SCALE = _or_pair(POSITIVE, "a number above 0 or [height, width]")
SWITCH = Check("true or false", lambda v: isinstance(v, bool))
TEXT = Check("text", lambda v: isinstance(v, str))
SCALES = _list_of(Check("", lambda v: TEXT.fits(v) or SCALE.fits(v)), "a list of scales such as 2 or 3x1.5")
TEXTS = _list_of(TEXT, "a list of texts")
MAPPING = Check("a mapping of keys to values", lambda v: isinstance(v, Mapping))
PATH = Check("a path", lambda v: isinstance(v, str | Path) and v != "" and "\0" not in str(v))
FOLDERS = Check("a folder or a list of folders", lambda v: PATH.fits(v) or _list_of(PATH, "").fits(v))
FOLDER_NAME = Check(
    "the name of one folder", lambda v: TEXT.fits(v) and v not in ("", ".", "..") and not set(v) & set("/\\\0")
)
FOLDER_NAMES = _list_of(FOLDER_NAME, "a list of names of folders")
SIZE = _or_pair(whole(1), "a side or [height, width], whole numbers from 1")

PLAIN: dict[Any, Check] = {
    int: Check("a whole number", lambda v: type(v) is int and -LARGEST <= v <= LARGEST),
    float: NUMBER,
    bool: SWITCH,
    str: TEXT,
    Path: PATH,
    Mapping: MAPPING,
    types.NoneType: Check("null", lambda v: v is None),
    Any: Check("anything", lambda v: True),
}

# Annotations of arguments that come from configs and checkpoints.
Count = Annotated[int, whole(1)]
Even = Annotated[int, Check("an even whole number from 2", lambda v: whole(2).fits(v) and v % 2 == 0)]
Counts = Annotated[Sequence[int], _list_of(whole(1), "a list of whole numbers from 1")]
Positive = Annotated[float, POSITIVE]
Share = Annotated[float, between(0, 1)]
FilePath = Annotated[str | Path, PATH]
FolderPaths = Annotated[str | Path | Sequence[str | Path], FOLDERS]
ScaleLike = Annotated[float | Sequence[float], SCALE]
SizeLike = Annotated[int | tuple[int, int], SIZE]


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The config at `path`, with what it `extends` merged below it and `key.path=value` overrides on top.

    `extends: FILE` (relative to the config, or a list, later ones win) names configs that this one changes. Mappings
    are merged key by key, except that a mapping with another `name` replaces the old one: its `args` belong to that
    name. A config that is no file may stand in VARIANTS beside it; its folder is looked for in the project's, too. The
    path of an override names elements of lists by their number, from 0.
    """
    path = Path(path)
    return overridden(_load(from_anywhere(path.parent) / path.name, ()), overrides)


def overridden(config: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`config` with `key.path=value` overrides on top."""
    for override in overrides:
        config = merge(config, _change(config, *_parse_override(override)))
    return config


def merge(base: Any, change: Any) -> Any:
    """`base` with `change` laid over it (see `load_config`)."""
    if not (isinstance(base, Mapping) and isinstance(change, Mapping)):
        return change
    if "name" in change and change["name"] != base.get("name"):
        return change
    return {**base, **{key: merge(base.get(key), value) for key, value in change.items()}}


INTEGER = re.compile(r"[-+]?(0|[1-9]\d*)$")
FLOAT = re.compile(r"[-+]?(\.\d+|(0|[1-9]\d*)(\.\d*)?)([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")


class Loader(yaml.SafeLoader):
    """YAML's safe loader with the numbers of YAML 1.2: 1e-4 is one, 010 and 1:30 are text, as are dates. A key that
    stands twice in a mapping is an error."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("bool", "null", "merge")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for entry, _ in node.value:
            key = None if entry.tag.endswith(":merge") else self.construct_object(entry, deep=True)
            if key in keys:  # TypeError for one that is a list or a mapping
                raise yaml.constructor.ConstructorError(None, None, f"{shortened(key)} stands twice", entry.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep)


class Dumper(yaml.SafeDumper):
    """YAML's safe dumper, which writes a text that Loader would read as a number, such as 12e4, in quotes."""


for _tag, _pattern in (("int", INTEGER), ("float", FLOAT)):
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list("-+.0123456789"))


def write_yaml(content: Any) -> str:
    """YAML text from which `read_yaml` makes the same, in the same order."""
    return yaml.dump(content, Dumper=Dumper, sort_keys=False)


def read_yaml(text: str) -> Any:
    """The value in YAML `text`; raises yaml.YAMLError."""
    try:
        return yaml.load(text, Loader)
    except (RecursionError, ValueError, TypeError, OverflowError) as error:
        raise yaml.YAMLError(f"a value that cannot be read ({type(error).__name__})") from None


def check_keys(config: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """InputError for a key of `config` that is not `known`, with the nearest that is."""
    known = list(known)
    for key in config:
        if key not in known:
            raise InputError(f"{where}: unknown key {shortened(key)}; {nearest_name(key, known)}")


def check_types(config: Any, kinds: Mapping[str, Check], where: str) -> None:
    """InputError for the first value that is not of its kind; `kinds` by dotted key, absent and null values pass."""
    check(where, config, MAPPING)
    for dotted, kind in kinds.items():
        value: Any = config
        for key in dotted.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        check(f"{where}: {dotted}", value, kind, optional=True)


def check_complete(config: Any, kinds: Mapping[str, Check], where: str, optional: Iterable[str] = ()) -> None:
    """InputError unless `config` has the keys of `kinds`, except `optional` ones, and no others, each of its kind."""
    check_types(config, kinds, where)
    check_keys(config, kinds, where)
    for key in kinds:
        if key not in optional:
            require(config, key, where)


def plain_number(value: float) -> float | int:
    """2 for 2.0, as people write scales in files and folder names."""
    return int(value) if value == int(value) else value


def require(config: Mapping[str, Any], key: str, where: str) -> Any:
    """`config[key]`, or InputError when it is missing."""
    if config.get(key) is None:
        raise InputError(f"{where}: the key '{key}' is missing")
    return config[key]


def find_configs(pattern: str) -> list[Path]:
    """The configs at a glob pattern such as `configs/train-*/train_*.yaml`, those of VARIANTS included, sorted."""
    found, listings = ([*map(Path, glob(str(path)))] for path in (pattern, Path(pattern).with_name(VARIANTS)))
    names = [listing.with_name(f"{name}.yaml") for listing in listings for name in _read(listing)]
    found += [path for path in names if fnmatch(path.name, Path(pattern).name)]
    return sorted({path for path in found if path.name != VARIANTS})


def _read(path: Path) -> dict[str, Any]:
    """The mapping in the file at `path`, or the one of its name in a VARIANTS beside it."""
    listing = path.with_name(VARIANTS) if path.name else path
    if not path.exists() and listing.is_file():
        variants = _read(listing)
        if isinstance(variants.get(path.stem), dict):
            return dict(variants[path.stem])
        names = [*variants, *(file.stem for file in path.parent.glob("*.yaml") if file.name != VARIANTS)]
        raise InputError(f"no config {path}; {nearest_name(path.stem, names)}")
    text = read_text(path, "config")
    try:
        config = read_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"config {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise InputError(f"config {path} is not a mapping of keys to values")
    return config


def _load(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """The config at `path`, extended by those `above`."""
    config = _read(path)
    if path.resolve() in above:
        raise InputError(f"{path}: extends itself")
    bases = config.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not (isinstance(bases, list) and all(isinstance(base, str) for base in bases)):
        raise InputError(f"config {path}: extends should be a file or a list of files, not {shortened(bases)}")
    merged: dict[str, Any] = {}
    for base in bases:
        merged = merge(merged, _load(path.parent / base, (*above, path.resolve())))
    return merge(merged, config)


def _parse_override(override: str) -> tuple[list[str], Any]:
    """`a.b=value` -> ([a, b], value), the value read as YAML."""
    keys, equals, value = override.partition("=")
    if not equals or not keys:
        raise InputError(f"--set {override}: expected key.path=value")
    try:
        return keys.split("."), read_yaml(value)
    except yaml.YAMLError:
        raise InputError(f"--set {shortened(override)}: the value is not YAML") from None


def _change(config: Any, path: Sequence[str], value: Any) -> Any:
    """The nested change that sets `value` at `path`."""
    if not path:
        return value
    key, *below = path
    if not isinstance(config, list):
        return {key: _change(config.get(key) if isinstance(config, Mapping) else None, below, value)}
    if not key.isdecimal() or int(key) >= len(config):
        raise InputError(
            f"--set ...{'.'.join(path)}: '{key}' is not an element of a list of {len(config)}; count from 0"
        )
    number = int(key)
    return [*config[:number], merge(config[number], _change(config[number], below, value)), *config[number + 1 :]]
