"""The three lines of the README in other people's programs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import hubconf
from tests.commands import ROOT

CALLER = """
import sys, models, torch, utils  # the caller's own
before = [*sys.path]
{lines}
import models.more, utils as again
assert (models.MINE, models.more.MINE, utils.MINE, again.MINE) == (1, 2, 3, 3)
own = {{name for name in sys.modules if name.partition(".")[0] in ("models", "utils", "datasets", "evaluation")}}
assert own == {{"models", "models.more", "utils"}}, own
assert sys.path == before, sys.path
second = torch.hub.load({root!r}, "continua", "lerf-l", source="local")  # once more, when all is imported
assert second(torch.rand(1, 3, 4, 5), scale=2).shape == (1, 3, 8, 10)
try:
    torch.hub.load({root!r}, "continua", "nothing", source="local")
except ValueError as error:
    print(error)
"""


def three_lines() -> str:
    """What docs/anywhere.md shows, for this folder."""
    (block,) = re.findall(r"```python\n(import torch, PIL.*?)```", (ROOT / "docs/anywhere.md").read_text(), re.DOTALL)
    assert len([line for line in block.splitlines() if line]) == 3
    assert block.count("path/to/continua") == 1
    return block.replace("path/to/continua", str(ROOT))


def run(folder: Path, program: str) -> subprocess.CompletedProcess:
    """Run a program in a folder, with nothing of this environment but where files are kept."""
    (folder / "program.py").write_text(program)
    command = [sys.executable, "program.py"]
    kept = {"HOME": os.environ.get("HOME", str(folder)), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=False)


def test_the_three_lines_in_an_empty_folder_and_beside_the_callers_own_modules(tmp_path) -> None:
    """`models` and `utils` stay the caller's, before and after."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(tmp_path / "photo.jpg")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/__init__.py").write_text("MINE = 1")
    (tmp_path / "models/more.py").write_text("MINE = 2")
    (tmp_path / "utils.py").write_text("MINE = 3")
    ended = run(tmp_path, CALLER.format(lines=three_lines(), root=str(ROOT)))
    assert ended.returncode == 0, ended.stderr
    assert Image.open(tmp_path / "photo_x4.png").size == (32, 24)
    assert "shipped models: s, lerf-g" in ended.stdout


def test_what_it_returns_is_said() -> None:
    said = hubconf.continua.__doc__
    for word in ("device:", "dtype", "[0, 1]", "Returns", "homography", "(height, width)"):
        assert word in said


def test_dependencies_are_required() -> None:
    """What torch.hub checks for is what requirements.txt installs."""
    required = set(re.findall(r"^\w+", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    (named,) = re.findall(r"^dependencies = \[(.*)\]", (ROOT / "hubconf.py").read_text(), re.MULTILINE)
    packages = {"PIL": "pillow", "yaml": "pyyaml"}
    assert {packages.get(name, name) for name in re.findall(r'"(\w+)"', named)} <= required


def test_where_nobody_can_write(tmp_path) -> None:
    """A temporary folder is the package's, and is gone in the end."""
    for path in ROOT.iterdir():
        if path.name not in ("build", "hubconf.py"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "hubconf.py").write_text((ROOT / "hubconf.py").read_text())  # which looks where it lies itself
    (tmp_path / "build").write_text("a file, where a folder should be")
    ended = run(tmp_path, "import hubconf; print(hubconf._package().__file__); print(hubconf.continua('lanczos'))")
    assert ended.returncode == 0, ended.stderr
    place, said = ended.stdout.split("\n", 1)
    assert said.startswith("PictureUpscaler")
    assert not Path(place).is_relative_to(tmp_path)
    assert not Path(place).exists()
