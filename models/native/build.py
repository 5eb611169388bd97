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
from pathlib import Path

from utils.errors import InputError
from utils.files import atomic_file

SOURCES = Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC", "-pthread")
# What the CPU has, as compilers for one or the other processor family spell it; last, what every CPU has.
CPU_FLAGS = (("-march=native",), ("-mcpu=native",), ())
# How threads are made (parallel.h): not every compiler has OpenMP's library beside it.
THREAD_FLAGS = (("-fopenmp",), ())
LONGEST_BUILD = 300  # seconds


class BuildError(Exception):
    """Why there is no library, in one line that names the remedy."""


def load(name: str) -> ctypes.CDLL:
    """The library made from NAME.cpp, compiled unless it is in the cache; BuildError when that fails.

    Any number of processes may do so at once: each compiles to a file of its own, and the last one in place stays.
    """
    compiler, flags, macros = toolchain()
    source = SOURCES / f"{name}.cpp"
    parts = [source.read_bytes(), *(header.read_bytes() for header in sorted(SOURCES.glob("*.h")))]
    parts.append(macros)  # they name the compiler's version and every instruction set it compiles for
    builds = []
    for threads in THREAD_FLAGS:
        command = (*compiler, *flags, *threads)
        key = hashlib.sha256(b"".join(hashlib.sha256(p).digest() for p in (*parts, " ".join(command).encode())))
        builds.append((cache_folder() / f"{name}-{key.hexdigest()[:32]}.so", command))
    failure = None
    for path, command in sorted(builds, key=lambda made: not made[0].exists()):
        try:
            if not path.exists():
                with atomic_file(path) as temporary:
                    run([*command, "-shared", "-o", str(temporary), str(source)])
            return ctypes.CDLL(str(path))
        except (BuildError, InputError, OSError) as error:
            failure = failure or error
    raise BuildError(f"{failure} (CONTINUA_CACHE names the folder of compiled kernels)") from failure


def cache_folder() -> Path:
    """$CONTINUA_CACHE, else the user's cache folder as the XDG specification names it."""
    chosen = os.environ.get("CONTINUA_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "continua"


@functools.cache
def toolchain() -> tuple[tuple[str, ...], tuple[str, ...], bytes]:
    """(compiler, flags, the macros that both define): $CXX, else the first compiler found, for this CPU if it can.

    $CONTINUA_CXXFLAGS are added to the flags.
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
            return tuple(found), flags, run([*found, *flags, "-x", "c++", "-dM", "-E", os.devnull])
        except BuildError as error:
            failure = error
    raise failure


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
