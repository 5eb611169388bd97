"""Building and calling native routines: several processes, broken compilers, flags, wrong arguments, and a cache that
others could have touched."""

import ctypes
import logging
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from models.native import backends, compiling
from tests.commands import ROOT
from tests.models.native.cases import needs_compiler, script
from utils.errors import InputError

LOAD = """
import pathlib, sys
from models.native import compiling
compiling.SOURCES = pathlib.Path(sys.argv[1])
print(compiling.load("squares")._name)
"""


def start(*command: object, **environment: object) -> subprocess.Popen:
    """A program text, and its arguments, in a process of its own."""
    environment = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", *map(str, command)], cwd=ROOT, env=environment, text=True, **pipes)


@needs_compiler
def test_two_processes_on_an_empty_cache(forgetful, sources, caplog, tmp_path) -> None:
    processes = [start(LOAD, sources, CONTINUA_CACHE=tmp_path / "new" / "cache") for _ in range(2)]
    loaded = set()
    for process in processes:
        printed, told = process.communicate()
        loaded.add(Path(printed.removesuffix("\n")))
        assert all("compiling the native routines" in line for line in told.splitlines())
    (library,) = (tmp_path / "new" / "cache").iterdir()  # nothing half-written stays
    assert loaded == {library}
    assert library.name.startswith("squares-")
    forgetful.setenv("CONTINUA_CACHE", str(library.parent))
    assert compiling.compiled("squares") == library
    assert not caplog.messages  # nothing is compiled


def no_folder(folder: Path) -> str:
    (folder / "file").touch()
    return str(folder / "file" / "cache")


COPIES = 'for word; do [ "$last" = -o ] && echo broken > "$word"; last=$word; done'
BREAKAGES = {  # environment of a folder, and what is told
    "no compiler": (lambda folder: {"CXX": "", "PATH": str(folder)}, "name it in CXX"),
    "broken compiler": (lambda folder: {"CXX": "false"}, "compiler false fails"),
    "unknown flag": (lambda folder: {"CONTINUA_CXXFLAGS": "--no-such-flag"}, "no-such-flag"),
    "unwritable cache": (lambda folder: {"CONTINUA_CACHE": no_folder(folder)}, "CONTINUA_CACHE"),
    "impossible cache": (lambda folder: {"CONTINUA_CACHE": str(folder / (300 * "x"))}, "CONTINUA_CACHE"),
    "no library": (lambda folder: {"CXX": script(folder, "exit 0")}, "made no library"),
    "broken library": (lambda folder: {"CXX": script(folder, COPIES)}, "CONTINUA_CACHE"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_breakage_is_told_once_and_pytorch_computes(forgetful, caplog, tmp_path, name) -> None:
    breakage, words = BREAKAGES[name]
    for variable, value in breakage(tmp_path).items():
        forgetful.setenv(variable, value)
    with caplog.at_level(logging.WARNING, logger="continua"):
        assert backends.library("lmf") is None
        assert backends.choose("lmf") is None
    *compiling, told = (record.getMessage() for record in caplog.records)
    assert all("compiling the native routines" in line for line in compiling)
    assert len(compiling) <= 1
    assert words in told
    assert "\n" not in told
    with backends.using("native"), pytest.raises(InputError, match=words) as caught:
        backends.choose("lmf")
    assert "\n" not in str(caught.value)
    if (tmp_path / "cache").exists():
        assert not list((tmp_path / "cache").iterdir())  # nothing that the next process would trip over


@needs_compiler
def test_without_openmp_threads_are_made_otherwise(forgetful, sources, tmp_path) -> None:
    compiler, _, _ = compiling.toolchain()
    refuses = script(tmp_path, f'case "$*" in *-fopenmp*) exit 1;; esac\nexec {" ".join(compiler)} "$@"')
    forgetful.setenv("CXX", refuses)
    compiling.toolchain.cache_clear()
    values = torch.zeros(1000, dtype=torch.float64)
    backends.library("squares").call("squares", 1000, values, 3)
    assert torch.equal(values, torch.arange(1000).double() ** 2)


@needs_compiler
def test_flags_and_sources_make_libraries_of_their_own(quick, sources) -> None:
    first = compiling.compiled("squares")
    assert compiling.compiled("squares") == first
    compiling.toolchain.cache_clear()
    quick.setenv("CONTINUA_CXXFLAGS", "-DANYTHING")
    second = compiling.compiled("squares")
    (sources / "common.h").write_text((sources / "common.h").read_text() + "// changed\n")
    assert len({first, second, compiling.compiled("squares")}) == 3


def test_unknown_backends_are_explained() -> None:
    with backends.using("nativ"), pytest.raises(InputError, match=r"'nativ'.*auto, native, triton, torch"):
        backends.choose("lmf")
    with pytest.raises(InputError, match="no native routines"):
        backends.check("native", None)


def test_a_hanging_compiler_is_reported_and_given_up(forgetful, caplog, tmp_path) -> None:
    """Its own processes end with it, and the next library does not wait again."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    forgetful.setenv("CXX", script(tmp_path, f"sleep 1000 > {pipe} & wait"))
    forgetful.setattr(compiling, "LONGEST_BUILD", 0.5)
    with caplog.at_level(logging.WARNING, logger="continua"):
        assert backends.library("lmf") is None
        assert backends.library("lerf") is None
    told = caplog.messages
    assert "took more than 0.5 s and was stopped" in told[0]
    assert len(told) == 1
    assert select.select([reader], [], [], 60)[0]  # the end: nobody has it open for writing any more
    assert os.read(reader, 1) == b""
    os.close(reader)


@needs_compiler
def test_every_routine_has_types() -> None:
    """ctypes guesses neither arguments nor results, and calls with too few or wrong ones do not reach C++."""
    for name in ("lmf", "lerf", "resampler", "convolution"):
        library = backends.library(name)
        assert library.routines
        for routine in library.routines.values():
            assert routine.restype is ctypes.c_char_p
            assert len(routine.argtypes) > 2
    with pytest.raises(RuntimeError, match=r"structure Axis has 72 bytes in C\+\+, not 16"):
        backends.library("lmf").record("Axis", 1, None)
    library, values, nan = backends.library("lerf"), torch.zeros(3), torch.zeros(1, dtype=torch.int32)
    with pytest.raises(TypeError, match="takes 4 arguments"):
        library.call("lerf_levels", values, 3)
    with pytest.raises(ctypes.ArgumentError):
        library.call("lerf_levels", values, 3.5, values.to(torch.uint8), nan)
    with pytest.raises(ValueError, match=r"torch\.float32.*expected torch\.uint8"):
        library.call("lerf_levels", values, 3, values, nan)
    with pytest.raises(ValueError, match="not contiguous"):
        library.call("lerf_levels", torch.zeros(6)[::2], 3, values.to(torch.uint8), nan)


def test_users_without_a_home_folder_are_told(forgetful) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("CONTINUA_CACHE", "XDG_CACHE_HOME"):
        forgetful.delenv(name, raising=False)
    forgetful.setattr(compiling.Path, "home", no_home)
    with pytest.raises(InputError, match="home"):
        compiling.cache_folder()
    assert backends.library("lerf") is None


def truncated(library: Path) -> None:
    library.write_bytes(library.read_bytes()[:5000])  # was SIGBUS


def flipped(library: Path) -> None:
    whole = bytearray(library.read_bytes())  # was SIGSEGV
    whole[5000] ^= 255
    library.write_bytes(whole)


def writable(library: Path) -> None:
    library.chmod(0o666)


def linked(library: Path) -> None:
    library.symlink_to(library.rename(library.parent.parent / library.name))


@pytest.mark.parametrize("damage", [truncated, flipped, writable, linked])
@needs_compiler
def test_a_damaged_library_is_compiled_again(quick, damage) -> None:
    library = compiling.compiled("lerf")
    damage(library)
    assert not compiling.is_intact(library)
    again = compiling.compiled("lerf")
    assert compiling.is_intact(again)
    assert list(again.parent.iterdir()) == [again]
    assert backends.library("lerf") is not None


@needs_compiler
def test_what_killed_compilers_left_is_cleared(quick) -> None:
    cache = compiling.compiled("lerf").parent
    old, new = (cache / f".building-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
        (folder / "lmf.so").touch()
    os.utime(old, (0, 0))
    compiling.compiled("resampler")
    assert not old.exists()
    assert new.exists()


def writable_by_others(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def below_a_writable_folder(folder: Path) -> Path:
    writable_by_others(folder)
    (folder / "cache").mkdir(0o700)
    return folder / "cache"


def linked_to_a_writable_folder(folder: Path) -> Path:
    folder.symlink_to(writable_by_others(folder.with_name("target")))
    return folder


def of_another_user(folder: Path) -> Path:
    if os.getuid():
        pytest.skip("only root can give a folder away")
    folder.mkdir(0o700)
    os.chown(folder, 12345, 12345)
    return folder


@pytest.mark.parametrize(
    "make", [writable_by_others, below_a_writable_folder, linked_to_a_writable_folder, of_another_user]
)
@needs_compiler
def test_a_foreign_library_is_never_loaded(quick, caplog, tmp_path, make) -> None:
    """The cache holds a library of the right name whose constructor would run as us."""
    own = compiling.compiled("lerf")
    compiling.toolchain.cache_clear()
    cache = make(tmp_path / "foreign")
    quick.setenv("CONTINUA_CACHE", str(cache))
    quick.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    planted = cache / own.name
    planted.write_bytes(own.read_bytes())  # even its content hash is right
    with caplog.at_level(logging.WARNING, logger="continua"):
        loaded = compiling.compiled("lerf")
        assert compiling.compiled("lerf") == loaded
    assert loaded.parent == tmp_path / "temporary" / f"continua-{os.getuid()}"
    assert loaded.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in cache.iterdir()] == [own.name]
    (told,) = (line for line in caplog.messages if "other users" in line)
    assert str(cache) in told
    assert str(loaded.parent) in told


@needs_compiler
def test_a_private_folder_that_was_taken_is_not_used(quick, tmp_path) -> None:
    cache, temporary = writable_by_others(tmp_path / "cache"), tmp_path / "temporary"
    temporary.mkdir()
    taken = writable_by_others(temporary / f"continua-{os.getuid()}")
    quick.setattr(tempfile, "tempdir", str(temporary))
    quick.setenv("CONTINUA_CACHE", str(cache))
    with pytest.raises(compiling.BuildError, match=f"{cache} and {taken}; name one of your own in CONTINUA_CACHE"):
        compiling.compiled("lerf")


@needs_compiler
def test_only_their_owner_writes_libraries(quick) -> None:
    before = os.umask(0)
    try:
        library = compiling.compiled("lerf")
    finally:
        os.umask(before)
    assert library.stat().st_mode & 0o777 == 0o644
    assert library.parent.stat().st_mode & 0o777 == 0o700
