"""Configs: YAML with `extends:`, command-line overrides, and keys that are checked."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

from utils.errors import InputError, nearest_name, shortened
from utils.kinds import MAPPING, Kind, check
from utils.reading import read_text

MOST_FILES = 32  # of a config with what it extends, directly or not
LONGEST = 1 << 17  # bytes of all these files
LARGEST = 20_000  # values in a config, those behind an alias counted each time
DEEPEST = 40  # mappings and lists within each other


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The config at `path`, with what it `extends` merged below it and `key.path=value` overrides on top.

    `extends: FILE` (relative to the config, or a list, later ones win) names configs that this one changes. Mappings
    are merged key by key, except that a mapping with another `name` replaces the old one: its `args` belong to that
    name. The path of an override names elements of lists by their number, from 0.
    """
    config = _load(Path(path), (), [])
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
            if isinstance(key, dict | list) or key in keys:
                reason = f"{shortened(key)} {'is no key' if isinstance(key, dict | list) else 'stands twice'}"
                raise yaml.constructor.ConstructorError(None, None, reason, entry.start_mark)
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
    """What YAML `text` holds; raises yaml.YAMLError, also for more, or more deeply nested, than a config can be."""
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, 1, {})
        return loader.construct_document(node)
    except (RecursionError, ValueError, TypeError, OverflowError) as error:
        raise yaml.YAMLError(f"a value that cannot be read ({type(error).__name__})") from None


def _count(node: yaml.Node, depth: int, counted: dict[yaml.Node, int]) -> int:
    """Values below `node`; yaml.YAMLError when they are too many or too deep, such as a value that holds itself."""
    if depth > DEEPEST:
        raise yaml.YAMLError(f"mappings and lists {DEEPEST} deep in each other")
    if node not in counted:
        children = [] if isinstance(node, yaml.ScalarNode) else node.value
        parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        counted[node] = 1 + sum(_count(part, depth + 1, counted) for part in parts)
    if counted[node] > LARGEST:
        raise yaml.YAMLError(f"more than {LARGEST} values")
    return counted[node]


def check_keys(config: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """InputError for a key of `config` that is not `known`, with the nearest that is."""
    known = list(known)
    for key in config:
        if key not in known:
            raise InputError(f"{where}: unknown key {shortened(key)}; {nearest_name(key, known)}")


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


def _load(path: Path, above: tuple[Path, ...], read: list[int]) -> dict[str, Any]:
    """The config at `path`, extended by those `above`; `read`, the length of each file so far, grows."""
    text = read_text(path, "config", LONGEST)
    read.append(len(text))
    if len(read) > MOST_FILES or sum(read) > LONGEST:
        raise InputError(f"config {path}: with what extends it, more than {MOST_FILES} files or {LONGEST >> 10} KiB")
    try:
        config = read_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"config {path} is not YAML: {' '.join(str(error).split())}") from None
    if path.resolve() in above:
        raise InputError(f"{path}: extends itself")
    if not isinstance(config, dict):
        raise InputError(f"config {path} is not a mapping of keys to values")
    bases = config.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not (isinstance(bases, list) and all(isinstance(base, str) for base in bases)):
        raise InputError(f"config {path}: extends should be a file or a list of files, not {shortened(bases)}")
    merged: dict[str, Any] = {}
    for base in bases:
        merged = merge(merged, _load(path.parent / base, (*above, path.resolve()), read))
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
    """What is to be laid over a config for a value at a path."""
    if not path:
        return value
    key, *below = path
    if not isinstance(config, list):
        return {key: _change(config.get(key) if isinstance(config, Mapping) else None, below, value)}
    if not key.isdecimal() or int(key) >= len(config):
        raise InputError(f"--set ...{'.'.join(path)}: '{key}' is no element of a list of {len(config)}; count from 0")
    number = int(key)
    return [*config[:number], merge(config[number], _change(config[number], below, value)), *config[number + 1 :]]
