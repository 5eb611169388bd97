"""What the README shows is true: its new decoder is one file, its commands exist."""

import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.commands import ROOT
from utils.config import load_config

README = (ROOT / "README.md").read_text()
CODE = (
    "configs", "datasets", "evaluation", "models", "painting", "pictures", "runtime", "tests", "tools", "training",
    "utils", "web",
)  # fmt: skip
FILES = ("demo.py", "hubconf.py", "pyproject.toml")
MODULES = {"tools.bench": "tools.bench.__main__"}  # whose arguments another file reads


def python_block(containing: str) -> str:
    """The README's Python example that contains a text."""
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if containing in block)
    return block


def test_a_decoder_is_one_new_file(tmp_path) -> None:
    """Dropped into a copy of the project, the example passes what every decoder passes."""
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    for name in CODE:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("golden", "__pycache__"))
    example = python_block('@register("bilinear-mlp")')
    assert len(example.splitlines()) < 40
    (tmp_path / "models/decoders/bilinear_mlp.py").write_text(example)
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/models/test_upscaler.py"]
    ended = subprocess.run(
        [*pytest_command, "-k", "bilinear-mlp or cost_table"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout
    assert "5 passed" in ended.stdout


def test_the_commands_exist() -> None:
    """Every command parses, and the configs and files that come with the project are there."""
    lines = re.findall(r"^    python (?:-m )?(\S+) (.*?)(?: +#.*)?$", README, re.MULTILINE)
    assert len(lines) > 15
    for program, arguments in lines:
        words = shlex.split(arguments)
        import_module(MODULES.get(program, program.removesuffix(".py"))).parse_arguments(words)
        for word in words:
            assert not word.startswith("save/pretrained_models/") or Path(ROOT / word).exists(), word
            assert not word.startswith("configs/") or load_config(ROOT / word), word


def test_the_examples_run(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(ROOT)
    example = python_block("continua.load").replace("coffee_large", f"{tmp_path}/large")
    names: dict[str, Any] = {}
    exec(example.replace("scale=2.5", "size=(36, 48)") + python_block("latent =") + python_block("homography="), names)
    assert Image.open(tmp_path / "large.png").size == (48, 36)
    assert [tuple(names[name].shape[-2:]) for name in ("large", "small")] == [(500, 700), (31, 40)]
    assert names["turned"].size == (600, 500)
    assert 0.2 < (np.asarray(names["turned"]) > 0).any(-1).mean() < 0.95  # the rest is outside
