"""Builds the wheel: the C library for any processor of this kind, on x86 also for those since 2013, and its header.

The wheel is tied to the platform and to no version of Python: nothing in it is an extension module.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))
from sources import FLAGS, HEADERS, SOURCES, sources_key

PORTABLE = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-pthread", "-shared")
# The library needs nothing but libc and exports nothing but what the header declares.
ALONE = ("-static-libstdc++", "-static-libgcc", f"-Wl,--version-script={SOURCES / 'exports.map'}")
VARIANTS = {"": ()}
if platform.machine() in ("x86_64", "AMD64"):
    VARIANTS["-v3"] = ("-march=x86-64-v3",)


class Build(build_py):
    """Compiles the library into the package."""

    def run(self) -> None:
        super().run()
        package = Path(self.build_lib) / "continua_lerf"
        compiler = shlex.split(os.environ.get("CXX", "c++"))
        alone = ALONE if sys.platform == "linux" else ()
        for name, variant in VARIANTS.items():
            target = package / f"libcontinua_lerf{name}.so"
            folders = (f"-I{HEADERS}", f"-I{SOURCES}")
            command = [*compiler, *PORTABLE, *FLAGS, *variant, *folders, str(SOURCES / "continua_lerf.cpp")]
            subprocess.run([*command, *alone, "-o", str(target)], check=True)
        shutil.copy(SOURCES / "continua_lerf.h", package)
        (package / "sources.txt").write_text(sources_key() + "\n")


class Wheel(bdist_wheel):
    """A wheel for this platform and any Python 3."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


class Platform(Distribution):
    def has_ext_modules(self) -> bool:
        return True


setup(cmdclass={"build_py": Build, "bdist_wheel": Wheel}, distclass=Platform)
