"""What modules offer by name, read from their text: help and errors about arguments do not wait for PyTorch."""

import ast
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def registered_names(folder: str) -> list[str]:
    """The names, sorted, that the files of a folder such as "models/decoders" register."""
    return sorted(name for path in (PROJECT / folder).glob("*.py") for name in _registered(path))


def _registered(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text()).body:
        for decorator in getattr(node, "decorator_list", ()):
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).rpartition(".")[2] == "register":
                yield ast.literal_eval(decorator.args[0])


def choices(file: str, name: str) -> list[str]:
    """The texts in a tuple, or the keys of a dict, that a file of the project assigns to `name`."""
    for node in ast.parse((PROJECT / file).read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            texts = node.value.keys if isinstance(node.value, ast.Dict) else node.value.elts
            return [ast.literal_eval(text) for text in texts]
    raise LookupError(f"{file} assigns nothing to {name}")
