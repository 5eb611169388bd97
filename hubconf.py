"""For `torch.hub.load("path/to/continua", "continua", source="local")`: an upscaler in other people's code.

The project's packages have names that yours may have, too (`models`, `utils`). So they are written as the one package
that the wheel holds, under a private name: nothing of yours is replaced.
"""

import atexit
import shutil
import sys
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from zlib import crc32

dependencies = ["torch", "numpy", "PIL", "yaml", "safetensors"]

_ROOT = Path(__file__).resolve().parent
_NAME = f"_continua_{crc32(bytes(_ROOT)):08x}"


def continua(model: str = "subpixel-s", device: str = "auto", backend: str = "auto") -> Any:
    """A learned arbitrary-scale upscaler: `upscaler(picture, scale=4)` returns what it is given, larger.

    model: short name of a shipped model (`subpixel-s`, `lerf-g`, ...; an unknown one lists all), a checkpoint
        (.safetensors, .pth), a folder of LeRF tables, or a filter (`catmull-rom`, `lanczos`, ...).
    device: auto, cpu, cuda, cuda:N or mps; the model computes there in float32.
    backend: auto, native or torch: what computes on a CPU.

    Returns an object to call with `(picture, scale=None, size=None, homography=None)`, where the picture is an image of
    Pillow, an array (H, W) or (H, W, C), or a tensor (B, 3, h, w) or (3, h, w), and so is the result;
    `help(upscaler.__call__)` says more. Wrong arguments raise a ValueError of one line.
    """
    return _package().load(model, device, backend)


def _package() -> ModuleType:
    """The project as the package `continua`, under a private name, in a folder that is removed in the end."""
    if _NAME in sys.modules:  # torch.hub executes this file each time
        return sys.modules[_NAME]
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _module("_continua_building", _ROOT / "continua/building.py").write_package(folder, _NAME)
    return _module(_NAME, folder / _NAME / "__init__.py")


def _module(name: str, path: Path) -> ModuleType:
    """The module, or package, at a path."""
    spec = spec_from_file_location(name, path)
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
