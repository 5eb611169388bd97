"""No module imports from a layer above its own."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = ("train", "test", "demo", "init_cmsr", "app")
PAINTING = {"utils", "pictures", "models", "runtime", "painting"}
EVALUATION = {"utils", "pictures", "models", "datasets", "evaluation"}
ALLOWED = {
    "utils": {"utils"},
    "pictures": {"utils", "pictures"},
    "models": {"utils", "models"},
    "datasets": {"utils", "pictures", "models", "datasets"},
    "runtime": {"runtime"},
    "painting": PAINTING,
    "evaluation": EVALUATION,
    "training": {*EVALUATION, "training"},
    "web": {*PAINTING, "web"},
    "demo": PAINTING,
    "test": EVALUATION,
    "init_cmsr": EVALUATION,
    "train": {*EVALUATION, "training"},
    "app": {"utils", "web"},
    "hubconf": set(),
    "continua": {"continua", "utils", "models", "painting", "demo", "train", "test", "app"},
    "tools": {*PAINTING, *EVALUATION, "training", "train", "web", "tools"},
}


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports, within functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("layer", ALLOWED)
def test_nothing_imports_upward(layer: str) -> None:
    program = ROOT / f"{layer}.py"
    files = [program] if program.is_file() else sorted((ROOT / layer).rglob("*.py"))
    assert files
    for path in files:
        upward = imported(path) & ALLOWED.keys() - ALLOWED[layer]
        assert not upward, f"{path.relative_to(ROOT)} imports {', '.join(sorted(upward))}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_start_when_all_is_defined(program: str) -> None:
    *_, last = ast.parse((ROOT / f"{program}.py").read_text()).body
    assert ast.unparse(last).startswith("if __name__ ==")


def test_no_file_imports_itself_by_way_of_others() -> None:
    files = {}
    for layer in ALLOWED:
        for path in [*ROOT.glob(f"{layer}.py"), *(ROOT / layer).rglob("*.py")]:
            files[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    imports = {}
    for module, path in files.items():
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
        imports[module] = {name if name in files else name.rpartition(".")[0] for name in names} & files.keys()
    TopologicalSorter(imports).prepare()  # CycleError names the files
