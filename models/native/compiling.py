"""Compiles native routines with the system's C++ compiler and keeps them in a cache folder.

Each NAME.cpp of models/native becomes one shared library with a plain C interface; all share the headers (*.h). In the
cache a library is called NAME-KEY-CONTENT.so. KEY is a hash of everything that the machine code depends on, CONTENT
that of the file itself: a damaged one would end the process. Nothing is loaded from a folder to which another user
could have written.
"""

import ctypes
import functools
import hashlib
import logging
import os
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from utils.errors import InputError

SOURCES = Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC", "-pthread")
# Options that compile for this CPU, first for x86, then for ARM; the last choice is code for any CPU.
CPU_FLAGS = (("-march=native",), ("-mcpu=native",), ())
OPENMP = "-fopenmp"
# PyTorch rounds every product before adding it. When the resampler and the LUT stages do the same, LeRF-L's output is
# identical to the last bit, and positions at the end of a support have the same taps.
FLAGS_OF = {"resampler": ("-ffp-contract=off",), "lerf": ("-ffp-contract=off",)}
LONGEST_BUILD = 60  # seconds that the compiler may run in all, for one process
BUILDING = ".building-"  # how folders of libraries in the making begin
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class BuildError(Exception):
    """Why there is no library, in one line that names the remedy."""


_spent = 0.0  # seconds that the compiler has run


def load(name: str) -> ctypes.CDLL:
    """The library made from NAME.cpp, compiled unless it is in the cache; BuildError when that fails.

    Several processes may do so at once: each compiles in a folder of its own, and the last library in place stays.
    """
    try:
        path = compiled(name)
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            path.unlink(missing_ok=True)  # made by a broken compiler: another one has its chance next time
            raise
    except (InputError, OSError) as error:
        raise BuildError(f"{error} (CONTINUA_CACHE names the folder of compiled routines)") from error


def compiled(name: str, folder: Path | None = None, own_flags: Sequence[str] = ()) -> Path:
    """The file of the library made from NAME.cpp, not loaded yet; damaged ones are removed and made again.

    The source is in SOURCES, or in a `folder` whose sources include those of SOURCES, too; `own_flags` are its own.
    """
    if os.name != "posix":
        raise BuildError("native routines need Linux or macOS")
    compiler, flags, macros = toolchain()
    flags = (*flags, *FLAGS_OF.get(name, ()), *own_flags)
    source, headers = (folder or SOURCES) / f"{name}.cpp", sorted(SOURCES.glob("*.h"))
    if folder:
        headers += sorted(folder.glob("*.h"))
    # The macros that a compiler defines name its version and every instruction set it compiles for.
    parts = [*(file.read_bytes() for file in (source, *headers)), " ".join([*compiler, *flags]).encode(), macros]
    key = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]
    cache = trusted_folder()
    for path in cache.glob(f"{name}-{key}-*.so"):
        if is_intact(path):
            return path
        path.unlink(missing_ok=True)
    for left in cache.glob(f"{BUILDING}*"):  # by processes that were killed
        if time.time() - left.stat().st_mtime > 2 * LONGEST_BUILD:
            shutil.rmtree(left, ignore_errors=True)
    _tell_of_compiling()
    with tempfile.TemporaryDirectory(prefix=BUILDING, dir=cache) as place:
        made = Path(place) / f"{name}.so"
        # Folders are no part of the key: an installed package and a checkout share what they compile
        command = [*compiler, *flags, f"-I{SOURCES}", "-shared", "-o", str(made), str(source)]
        try:
            run([*command, *openmp(macros)])
        except BuildError:
            if not openmp(macros):
                raise
            run(command)  # for GCC may lack its OpenMP library
        if not made.is_file() or not made.stat().st_size:
            raise BuildError(f"the C++ compiler {compiler[0]} made no library")
        made.chmod(made.stat().st_mode & ~OTHERS_MAY_WRITE)
        path = cache / f"{name}-{key}-{_content_hash(made)}.so"
        os.replace(made, path)
    return path


def is_intact(path: Path) -> bool:
    """Whether a cached library is a file of a trusted user with the content that it was made with."""
    found = path.lstat()
    trusted = found.st_uid in _trusted_users() and not found.st_mode & OTHERS_MAY_WRITE
    return stat.S_ISREG(found.st_mode) and trusted and _content_hash(path) == path.stem.rpartition("-")[2]


def _content_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def cache_folder() -> Path:
    """$CONTINUA_CACHE, else the user's cache folder as the XDG specification names it."""
    chosen, caches = os.environ.get("CONTINUA_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(chosen) if chosen else Path(caches or Path.home() / ".cache") / "continua"
    except RuntimeError as error:  # a user without a home folder
        raise InputError(f"no folder for compiled routines: {error}") from None


def trusted_folder() -> Path:
    """The cache folder, made if need be, with no link in its path; a private folder, which is reported, where another
    user could write to it."""
    folder = cache_folder().absolute()
    folder.mkdir(0o700, parents=True, exist_ok=True)
    return _private_folder(folder) if others_may_write(folder) else folder.resolve()


def others_may_write(folder: Path) -> bool:
    """Whether a user other than this one and root could have put files into a folder, or another folder in its
    place."""
    trusted, resolved = _trusted_users(), folder.resolve()
    for place in {folder, *folder.parents, resolved, *resolved.parents}:
        found = place.lstat()
        open_to_others = not stat.S_ISLNK(found.st_mode) and found.st_mode & OTHERS_MAY_WRITE
        kept_apart = place not in (folder, resolved) and found.st_mode & stat.S_ISVTX  # /tmp: entries have their owners
        if found.st_uid not in trusted or (open_to_others and not kept_apart):
            return True
    return False


def _trusted_users() -> set[int]:
    """This user and root, whose number is another one in some containers."""
    return {os.getuid(), os.stat("/").st_uid}


@functools.cache
def _private_folder(refused: Path) -> Path:
    """A folder of this user alone for temporary files, instead of a refused one."""
    folder = Path(tempfile.gettempdir()).resolve() / f"continua-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(0o700)
    if others_may_write(folder):
        raise BuildError(f"other users can write to {refused} and {folder}; name one of your own in CONTINUA_CACHE")
    message = "other users can write to %s, so compiled routines are kept in %s; CONTINUA_CACHE names another folder"
    logging.getLogger("continua").warning(message, refused, folder)
    return folder


@functools.cache
def _tell_of_compiling() -> None:
    """One line on stderr, once."""
    message = "compiling the native routines, once per machine (at most %g s) ..."
    logging.getLogger("continua").warning(message, LONGEST_BUILD)


@functools.cache
def toolchain() -> tuple[tuple[str, ...], tuple[str, ...], bytes]:
    """(compiler, flags, the macros that both define): $CXX or the first compiler found, for this CPU if possible.
    $CONTINUA_CXXFLAGS are added to the flags."""
    chosen = os.environ.get("CXX")
    candidates = [chosen] if chosen else COMPILERS
    try:
        commands = [shlex.split(candidate) for candidate in candidates]
        own = shlex.split(os.environ.get("CONTINUA_CXXFLAGS", ""))
    except ValueError as error:
        raise BuildError(f"CXX or CONTINUA_CXXFLAGS is not a command line: {error}") from None
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


def openmp(macros: bytes) -> tuple[str, ...]:
    """The flag of OpenMP for GCC alone: PyTorch for Linux ships GCC's OpenMP library, and a second one in a process
    competes with the first, or ends the process."""
    return (OPENMP,) if b"__GNUC__" in macros and b"__clang__" not in macros else ()


def run(command: list[str]) -> bytes:
    """Standard output of a compiler's run, which must succeed within the time left of LONGEST_BUILD."""
    global _spent
    start, pipe = time.monotonic(), subprocess.PIPE
    try:
        with subprocess.Popen(
            command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
        ) as process:
            try:
                output, errors = process.communicate(timeout=max(0, LONGEST_BUILD - _spent))
            finally:
                if process.poll() is None:  # its own processes must end, too
                    os.killpg(process.pid, signal.SIGKILL)
    except subprocess.TimeoutExpired:
        raise BuildError(f"the C++ compiler {command[0]} took more than {LONGEST_BUILD:g} s and was stopped") from None
    except OSError as error:
        raise BuildError(f"the C++ compiler {command[0]} does not run: {error}") from error
    finally:
        _spent += time.monotonic() - start
    if process.returncode:
        lines = errors.decode(errors="replace").splitlines()
        first = next((line for line in lines if "error" in line), f"exit status {process.returncode}")
        raise BuildError(f"the C++ compiler {command[0]} fails: {first.strip()}")
    return output
