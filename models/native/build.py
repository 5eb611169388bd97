"""Compiles the kernels beside this file with the system's C++ compiler and keeps them in a cache folder.

Each NAME.cpp is one shared library with a plain C interface; headers (*.h) are shared by all. The file name in the
cache holds a hash of everything the machine code follows from, so nothing in there is ever out of date.
"""

import ctypes
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from utils.errors import InputError
from utils.files import atomic_file

SOURCES = Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC", "-pthread")
# What the CPU has, as compilers for one or the other processor family spell it; last, what every CPU has.
CPU_FLAGS = (("-march=native",), ("-mcpu=native",), ())
OPENMP = "-fopenmp"
# PyTorch rounds every product before it is added to something. Where kernels do so, too, LeRF-L's enlarged pictures are
# the same to the last bit, and positions at the end of a support have the same taps.
FLAGS_OF = {"resampler": ("-ffp-contract=off",)}
LONGEST_BUILD = 300  # seconds


class BuildError(Exception):
    """Why there is no library, in one line that names the remedy."""


def load(name: str) -> ctypes.CDLL:
    """The library made from NAME.cpp, compiled unless it is in the cache; BuildError when that fails.

    Any number of processes may do so at once: each compiles to a file of its own, and the last one in place stays.
    """
    compiler, flags, macros = toolchain()
    flags = (*flags, *FLAGS_OF.get(name, ()))
    source = SOURCES / f"{name}.cpp"
    parts = [source.read_bytes(), *(header.read_bytes() for header in sorted(SOURCES.glob("*.h")))]
    # The macros that a compiler defines name its version and every instruction set it compiles for.
    parts += [" ".join([*compiler, *flags]).encode(), macros]
    key = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]
    try:
        path = cache_folder().absolute() / f"{name}-{key}.so"
        if not path.exists():
            with atomic_file(path) as temporary:
                run([*compiler, *flags, "-shared", "-o", str(temporary), str(source)])
        return ctypes.CDLL(str(path))
    except (InputError, OSError) as error:
        raise BuildError(f"{error} (CONTINUA_CACHE names the folder of compiled kernels)") from error


def cache_folder() -> Path:
    """$CONTINUA_CACHE, else the user's cache folder as the XDG specification names it."""
    chosen, caches = os.environ.get("CONTINUA_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(chosen) if chosen else Path(caches or Path.home() / ".cache") / "continua"
    except RuntimeError as error:  # a user without a home folder
        raise InputError(f"no folder for compiled kernels: {error}") from None


@functools.cache
def toolchain() -> tuple[tuple[str, ...], tuple[str, ...], bytes]:
    """(compiler, flags, the macros that both define): $CXX, else the first compiler found, for this CPU if it can.

    $CONTINUA_CXXFLAGS are added to the flags. OpenMP is GCC's only: its library is the one that PyTorch's builds for
    Linux come with, while a second library of it in a process competes with the first one, or ends the process.
    """
    chosen = os.environ.get("CXX")
    candidates = [chosen] if chosen else COMPILERS
    try:
        commands = [shlex.split(candidate) for candidate in candidates]
        own = shlex.split(os.environ.get("CONTINUA_CXXFLAGS", ""))
    except ValueError as error:
        raise BuildError(f"CXX or CONTINUA_CXXFLAGS is no command line: {error}") from None
    found = next((words for words in commands if words and shutil.which(words[0])), None)
    if found is None:
        raise BuildError(f"no C++ compiler ({', '.join(candidates)}); install one, or name it in CXX")
    for cpu in CPU_FLAGS:
        flags = (*FLAGS, *cpu, *own)
        try:
            macros = run([*found, *flags, "-x", "c++", "-dM", "-E", os.devnull])
        except BuildError as error:
            failure = error
            continue
        is_gcc = b"__GNUC__" in macros and b"__clang__" not in macros
        return tuple(found), (*flags, OPENMP) if is_gcc and links(found, OPENMP) else flags, macros
    raise failure


def links(compiler: Sequence[str], flag: str) -> bool:
    """Whether the compiler has what it takes to make a library with a flag."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            run([*compiler, flag, "-fPIC", "-shared", "-x", "c++", os.devnull, "-o", str(Path(folder) / "empty.so")])
        except BuildError:
            return False
    return True


def run(command: list[str]) -> bytes:
    """Standard output of a compiler's run, which must succeed."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST_BUILD, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"the C++ compiler {command[0]} does not run: {error}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines()
        first = next((line for line in lines if "error" in line), f"exit status {done.returncode}")
        raise BuildError(f"the C++ compiler {command[0]} fails: {first.strip()}")
    return done.stdout
