"""Writes the project as one package: its files below a private package, with their imports of each other changed to
match, so that neither `models` nor `utils` is a name that others may have, too. Needs only Python."""

import re
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
LEFT_OUT = ("runtime/lerf/setup.py",)  # which builds a wheel of its own
INNER = "_parts"
NAMES = "|".join(PARTS)


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
        modules = [ROOT / f"{part}.py"] if (ROOT / f"{part}.py").is_file() else (ROOT / part).rglob("*.py")
        yield from (path for path in modules if path.relative_to(ROOT).as_posix() not in LEFT_OUT)
    for folder in DATA:
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)


def _copy(path: Path, target: Path, name: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".py":
        target.write_text(rewritten(path.read_text(), f"{name}.{INNER}"))
    else:
        shutil.copyfile(path, target)


def rewritten(source: str, package: str) -> str:
    """The text of a module with its imports of the project's PARTS, each a line that begins with it, below `package`.

    ValueError for `import models.x`, which binds a name that would be another one below the package.
    """

    def below(match: re.Match) -> str:
        indent, path, last, renamed = match.groups()
        if path and not renamed:
            raise ValueError(f"import {path}{last}: use from {path[:-1]} import {last}")
        return f"{indent}from {f'{package}.{path}'[:-1] if path else package} import {last}{renamed or ''}"

    source = re.sub(rf"^([ \t]*from )((?:{NAMES})(?:\.[\w.]+)? import)", rf"\1{package}.\2", source, flags=re.MULTILINE)
    return re.sub(rf"^([ \t]*)import (?=(?:{NAMES})\b)([\w.]*\.)?(\w+)( as \w+)?", below, source, flags=re.MULTILINE)
