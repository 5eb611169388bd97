"""Builds the wheel: see continua/building.py. Everything else is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent / "continua"))
from building import write_package


class Build(build_py):
    """Writes the package whose imports are its own."""

    def run(self) -> None:
        write_package(Path(self.build_lib), "continua")


setup(cmdclass={"build_py": Build})
