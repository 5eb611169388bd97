"""Writes the project as one package: its files below a private package, with their imports of each other changed to
match, so that neither `models` nor `utils` is a name that others may have, too. Needs only Python."""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = (
    "app", "datasets", "demo", "evaluation", "init_cmsr", "models", "painting", "pictures", "runtime", "test", "train",
    "training", "utils", "web",
)  # fmt: skip
DATA = ("models", "runtime/lerf", "web/static", "configs", "save/pretrained_models")
SUFFIXES = (".cpp", ".css", ".h", ".html", ".js", ".map", ".safetensors", ".svg", ".yaml")
LEFT_OUT = ("__pycache__", "setup.py", "unfinished")
INNER = "_parts"


def write_package(target: Path, name: str) -> None:
    """Write the package `name` below the folder `target`: `continua/`, and the rest of the project in `name`._parts."""
    for path in sorted((ROOT / "continua").glob("*")):
        if path.is_file() and path != Path(__file__):
            _copy(path, target / name / path.name, name)
    inner = target / name / INNER
    for path in files():
        _copy(path, inner / path.relative_to(ROOT), name)
    (inner / "__init__.py").write_text('"""The files of the project, which import each other below this package."""\n')


def files() -> Iterator[Path]:
    """The project's modules, and the files that they read."""
    for part in PARTS:
        yield from [ROOT / f"{part}.py"] if (ROOT / f"{part}.py").is_file() else (ROOT / part).rglob("*.py")
    for folder in DATA:
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)


def _copy(path: Path, target: Path, name: str) -> None:
    if set(path.parts) & set(LEFT_OUT):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".py":
        target.write_text(rewritten(path.read_text(), f"{name}.{INNER}"))
    else:
        shutil.copyfile(path, target)


def rewritten(source: str, package: str) -> str:
    """The text of a module with its imports of the project's PARTS below `package`; all else as it was.

    ValueError for `import models.x`, which binds a name that would be another one below the package.
    """
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PARTS:
            before, after = lines[node.lineno - 1][: node.col_offset], lines[node.lineno - 1][node.col_offset :]
            lines[node.lineno - 1] = before + after.replace(f"from {node.module}", f"from {package}.{node.module}", 1)
        elif isinstance(node, ast.Import) and node.names[0].name.partition(".")[0] in PARTS:
            (alias,) = node.names
            outer, _, last = alias.name.rpartition(".")
            if outer and not alias.asname:
                raise ValueError(f"import {alias.name} in line {node.lineno}: use from {outer} import {last}")
            renamed = f" as {alias.asname}" if alias.asname else ""
            place = f"{package}.{outer}" if outer else package
            line = lines[node.lineno - 1]
            statement = f"from {place} import {last}{renamed}"
            lines[node.lineno - 1] = line[: node.col_offset] + statement + line[node.end_col_offset :]
    return "".join(lines)
