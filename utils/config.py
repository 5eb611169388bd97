"""Configs: YAML with `extends:`, command-line overrides, and keys that are checked."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from utils.errors import InputError, nearest_name
from utils.kinds import MAPPING, Kind, check


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The config at `path`, with what it `extends` merged below it and `key.path=value` overrides on top.

    `extends: FILE` (relative to the config, or a list, later ones win) names configs that this one changes. Mappings
    are merged key by key, except that a mapping with another `name` replaces the old one: its `args` belong to that
    name.
    """
    config = _load(Path(path), ())
    for override in overrides:
        config = merge(config, _parse_override(override))
    return config


def merge(base: Any, change: Any) -> Any:
    """`base` with `change` laid over it (see `load_config`)."""
    if not (isinstance(base, Mapping) and isinstance(change, Mapping)):
        return change
    if "name" in change and change["name"] != base.get("name"):
        return change
    return {**base, **{key: merge(base.get(key), value) for key, value in change.items()}}


class Loader(yaml.SafeLoader):
    """YAML's safe loader, which reads 1e-4 as a number, too, as YAML 1.2 does."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(text: str) -> Any:
    """What YAML `text` holds; raises yaml.YAMLError."""
    return yaml.load(text, Loader)


def check_keys(config: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """InputError for a key of `config` that is not `known`, with the nearest that is."""
    known = list(known)
    for key in config:
        if key not in known:
            raise InputError(f"{where}: unknown key '{key}'; {nearest_name(key, known)}")


def check_types(config: Any, kinds: Mapping[str, Kind], where: str) -> None:
    """InputError for the first value that is not of its kind; `kinds` by dotted key, absent and null values pass."""
    check(where, config, MAPPING)
    for dotted, kind in kinds.items():
        value: Any = config
        for key in dotted.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        check(f"{where}: {dotted}", value, kind, optional=True)


def plain_number(value: float) -> float | int:
    """2 for 2.0, as people write scales in files and folder names."""
    return int(value) if value == int(value) else value


def require(config: Mapping[str, Any], key: str, where: str) -> Any:
    """`config[key]`, or InputError when it is missing."""
    if config.get(key) is None:
        raise InputError(f"{where}: the key '{key}' is missing")
    return config[key]


def _load(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in above:
        raise InputError(f"{path}: extends itself")
    try:
        config = read_yaml(path.read_text())
    except FileNotFoundError:
        raise InputError(f"no config {path}; see configs/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"config {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"config {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise InputError(f"config {path} is not a mapping of keys to values")
    bases = config.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not (isinstance(bases, list) and all(isinstance(base, str) for base in bases)):
        raise InputError(f"config {path}: extends should be a file or a list of files, not {bases!r}")
    merged: dict[str, Any] = {}
    for base in bases:
        merged = merge(merged, _load(path.parent / base, (*above, path.resolve())))
    return merge(merged, config)


def _parse_override(override: str) -> dict[str, Any]:
    """`a.b=value` -> {a: {b: value}}, the value read as YAML."""
    keys, equals, value = override.partition("=")
    if not equals or not keys:
        raise InputError(f"--set {override}: expected key.path=value")
    try:
        nested: Any = read_yaml(value)
    except yaml.YAMLError:
        raise InputError(f"--set {override}: the value is not YAML") from None
    for key in reversed(keys.split(".")):
        nested = {key: nested}
    return nested
