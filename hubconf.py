"""For `torch.hub.load("path/to/continua", "continua", "s", source="local")`: an upscaler in other people's code.

The project's packages have names that yours may have, too (`models`, `utils`). Here they are imported under a private
name, with the imports inside them: nothing of yours is replaced, and nothing of ours is found in place of yours.
"""

import ast
import importlib
import sys
from hashlib import sha256
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import Any

dependencies = ["torch", "numpy", "PIL", "yaml", "safetensors"]

_ROOT = Path(__file__).resolve().parent
_PRIVATE = f"_continua_{sha256(str(_ROOT).encode()).hexdigest()[:8]}"
_PACKAGES = ("models", "painting", "pictures", "utils")


class _PrivateImports(ast.NodeTransformer):
    """Imports of the project's packages become imports below the private name."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if (node.module or "").partition(".")[0] in _PACKAGES:
            node.module = f"{_PRIVATE}.{node.module}"
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.AST]:
        made: list[ast.AST] = []
        for alias in node.names:
            package = alias.name.partition(".")[0]
            if package not in _PACKAGES:
                made.append(ast.Import([alias]))
            elif alias.asname:
                made.append(ast.Import([ast.alias(f"{_PRIVATE}.{alias.name}", alias.asname)]))
            else:  # `import models.native` binds `models`
                made.append(ast.Import([ast.alias(f"{_PRIVATE}.{alias.name}", f"_{package}")]))
                made.append(ast.ImportFrom(_PRIVATE, [ast.alias(package)], 0))
        return [ast.copy_location(each, node) for each in made]


class _Loader(SourceFileLoader):
    """Runs a file of the project with private imports; bytecode, which is that of the plain file, is left alone."""

    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(self.get_data(self.path), self.path)
        return compile(ast.fix_missing_locations(_PrivateImports().visit(tree)), self.path, "exec", dont_inherit=True)


class _Finder:
    """Finds the project's packages below the private name."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        private, _, name = fullname.partition(".")
        if private != _PRIVATE:
            return None
        if not name:
            return ModuleSpec(fullname, None, is_package=True)
        place = _ROOT.joinpath(*name.split("."))
        if (place / "__init__.py").is_file():
            file, inside = place / "__init__.py", [str(place)]
        else:
            file, inside = place.with_suffix(".py"), None
        if not file.is_file():
            return None
        return spec_from_file_location(
            fullname, file, loader=_Loader(fullname, str(file)), submodule_search_locations=inside
        )


def continua(model: str = "s", device: str = "auto", backend: str = "auto") -> Any:
    """A learned arbitrary-scale upscaler: `upscaler(picture, scale=4)` returns what it is given, larger.

    model: short name of a shipped model (`s`, `lerf-g`, `lerf-l`; an unknown one lists all), a checkpoint
        (.safetensors, .pth), a folder of LeRF tables, or a filter (`catmull-rom`, `lanczos`, ...).
    device: auto, cpu, cuda, cuda:N or mps; the model computes there in float32.
    backend: auto, native or torch: what computes on a CPU.

    Returns an object to call with `(picture, scale=None, size=None, homography=None)`:
        picture: an image of Pillow, an array (H, W) or (H, W, C) of uint8, uint16 or floats in [0, 1], or a float
            tensor (B, 3, h, w) or (3, h, w) in [0, 1] on any device.
        scale: a number or (height, width) factors; size: (height, width); homography: 3x3 numbers that map input pixels
            (x, y, 1) to output pixels, to `size` or the size of the input.
    The result is of the picture's own kind: mode, dtype, number of axes and device; floats in [0, 1]; no gradients.

    Wrong arguments raise a ValueError of one line. `help(upscaler.__call__)` says more; `upscaler.upscaler` has
    `encode` and `render` for many sizes of one picture; `upscaler.scale_range`, `.tiling` ... say what it can do.
    """
    return importlib.import_module(f"{_PRIVATE}.painting.in_memory").load(model, device, backend)


if not any(getattr(finder, "serves", None) == _PRIVATE for finder in sys.meta_path):
    _Finder.serves = _PRIVATE
    sys.meta_path.insert(0, _Finder)
