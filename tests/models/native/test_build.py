"""Building the native routines: several processes, broken compilers, and caches that others could have touched."""

import ctypes
import logging
import os
import select
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import torch

from models import native
from models.native import build, calls
from models.native.calls import Library
from tests.commands import ROOT
from utils.errors import InputError

LOAD = (
    "import pathlib, sys; from models import native; native.build.SOURCES = pathlib.Path(sys.argv[1]);"
    "print([native.library('squares') is None for _ in range(3)][-1])"
)
SQUARES = """
#include "interface.h"
#include "parallel.h"

extern "C" const char *squares(int64_t count, double *out, int32_t threads) {
    return completed([&] {
        parallel(count, threads, [&] { return [&](int64_t item) { out[item] = double(item * item); }; });
    });
}

extern "C" const char *native_interface() {
    static const std::string text = signature("squares", squares);
    return text.c_str();
}
"""
MADE = build.compiled("lerf") if native.library("lerf") else None
needs_compiler = pytest.mark.skipif(MADE is None, reason="needs a C++ compiler")


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A process that has built nothing yet, with an empty cache."""
    monkeypatch.setattr(native, "_outcomes", {})
    monkeypatch.setenv("CONTINUA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_spent", 0.0)
    remembered = (native._tell, build.toolchain, build._tell_of_compiling, build._private_folder)
    for cached in remembered:
        cached.cache_clear()
    yield monkeypatch
    for cached in remembered:
        cached.cache_clear()


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The headers and squares.cpp, a library that is compiled soon."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for header in build.SOURCES.glob("*.h"):
        (folder / header.name).write_bytes(header.read_bytes())
    (folder / "squares.cpp").write_text(SQUARES)
    monkeypatch.setattr(build, "SOURCES", folder)
    return folder


@pytest.fixture
def quick(forgetful, tmp_path) -> pytest.MonkeyPatch:
    """As `forgetful`, with a compiler that takes no time: it makes the library `lerf` whatever it is asked for."""
    copy = f'for word; do [ "$last" = -o ] && cat {MADE} > "$word"; last=$word; done'
    forgetful.setenv("CXX", script(tmp_path, copy))
    return forgetful


def start(*arguments: object, **environment: object) -> subprocess.Popen:
    """LOAD in a process of its own."""
    environment = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-c", LOAD, *map(str, arguments)], cwd=ROOT, env=environment, text=True, **pipes
    )


@needs_compiler
def test_two_processes_on_an_empty_cache(forgetful, sources, caplog, tmp_path) -> None:
    processes = [start(sources, CONTINUA_CACHE=tmp_path / "new" / "cache") for _ in range(2)]
    for process in processes:
        printed, told = process.communicate(timeout=300)
        assert printed == "False\n"
        assert all("compiling the native routines" in line for line in told.splitlines())
    (library,) = (tmp_path / "new" / "cache").iterdir()  # nothing half-written stays
    assert library.name.startswith("squares-")
    forgetful.setenv("CONTINUA_CACHE", str(library.parent))
    assert build.compiled("squares") == library
    assert not caplog.messages  # nothing is compiled


@pytest.mark.parametrize("failure", [None, build.BuildError("no compiler"), InputError("no home")])
def test_the_compiler_is_asked_beside_imports(monkeypatch, failure) -> None:
    """Once the block ends it has answered; that there is none is no matter yet."""
    asked = []

    def toolchain() -> None:
        asked.append(threading.current_thread())
        if failure:
            raise failure

    monkeypatch.setattr(build, "toolchain", toolchain)
    with build.looking_for_compiler():
        pass
    (thread,) = asked
    assert thread is not threading.current_thread()


def test_without_a_compiler_one_line(tmp_path) -> None:
    process = start(build.SOURCES, CONTINUA_CACHE=tmp_path / "cache", PATH=tmp_path, CXX="")
    printed, told = process.communicate(timeout=300)
    assert printed == "True\n"
    (line,) = told.splitlines()
    assert "no C++ compiler" in line
    assert not (tmp_path / "cache").exists()


def broken_compiler(folder: Path) -> dict[str, str]:
    return {"CXX": "false"}


def unknown_flag(folder: Path) -> dict[str, str]:
    return {"CONTINUA_CXXFLAGS": "--no-such-flag"}


def unwritable_cache(folder: Path) -> dict[str, str]:
    (folder / "file").touch()
    return {"CONTINUA_CACHE": str(folder / "file" / "cache")}


def impossible_cache(folder: Path) -> dict[str, str]:
    return {"CONTINUA_CACHE": str(folder / (300 * "x"))}


def script(folder: Path, text: str) -> str:
    compiler = folder / "compiler"
    compiler.write_text(f"#!/bin/sh\n{text}\n")
    compiler.chmod(0o755)
    return str(compiler)


def no_library(folder: Path) -> dict[str, str]:
    """The compiler tells its macros but makes nothing."""
    return {"CXX": script(folder, "exit 0")}


def broken_library(folder: Path) -> dict[str, str]:
    """The compiler writes text where the library should be."""
    return {"CXX": script(folder, 'for word; do [ "$last" = -o ] && echo broken > "$word"; last=$word; done')}


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (broken_compiler, "compiler false fails"),
        (unknown_flag, "no-such-flag"),
        (unwritable_cache, "CONTINUA_CACHE"),
        (impossible_cache, "CONTINUA_CACHE"),
        (no_library, "made no library"),
        (broken_library, "CONTINUA_CACHE"),
    ],
)
def test_breakage_is_told_once_and_pytorch_computes(forgetful, caplog, tmp_path, breakage, words) -> None:
    for name, value in breakage(tmp_path).items():
        forgetful.setenv(name, value)
    with caplog.at_level(logging.WARNING, logger="continua"):
        assert native.library("lmf") is None
        assert native.choose("lmf") is None
    *compiling, told = (record.getMessage() for record in caplog.records)
    assert all("compiling the native routines" in line for line in compiling)
    assert len(compiling) <= 1
    assert words in told
    assert "\n" not in told
    with native.using("native"), pytest.raises(InputError, match=words) as caught:
        native.choose("lmf")
    assert "\n" not in str(caught.value)
    if (tmp_path / "cache").exists():
        assert not list((tmp_path / "cache").iterdir())  # nothing that the next process would trip over


@needs_compiler
def test_without_openmp_threads_are_made_otherwise(forgetful, sources, tmp_path) -> None:
    compiler, _, _ = build.toolchain()
    refuses = script(tmp_path, f'case "$*" in *-fopenmp*) exit 1;; esac\nexec {" ".join(compiler)} "$@"')
    forgetful.setenv("CXX", refuses)
    build.toolchain.cache_clear()
    values = torch.zeros(1000, dtype=torch.float64)
    native.library("squares").call("squares", 1000, values, 3)
    assert torch.equal(values, torch.arange(1000).double() ** 2)
    assert build.OPENMP not in build.toolchain()[1]


@needs_compiler
def test_flags_and_sources_make_libraries_of_their_own(quick, sources) -> None:
    first = build.compiled("squares")
    assert build.compiled("squares") == first
    build.toolchain.cache_clear()
    quick.setenv("CONTINUA_CXXFLAGS", "-DANYTHING")
    second = build.compiled("squares")
    (sources / "parallel.h").write_text((sources / "parallel.h").read_text() + "// changed\n")
    assert len({first, second, build.compiled("squares")}) == 3


@needs_compiler
def test_a_cache_may_be_the_present_folder(quick, tmp_path) -> None:
    quick.chdir(tmp_path)
    quick.setenv("CONTINUA_CACHE", ".")
    assert native.library("lerf") is not None
    (library,) = tmp_path.glob("*.so")
    assert library.name.startswith("lerf-")


def test_users_without_a_home_folder_are_told(forgetful) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("CONTINUA_CACHE", "XDG_CACHE_HOME"):
        forgetful.delenv(name, raising=False)
    forgetful.setattr(build.Path, "home", no_home)
    with pytest.raises(InputError, match="home"):
        build.cache_folder()
    assert native.library("lerf") is None


def test_unknown_backends_are_explained() -> None:
    with native.using("nativ"), pytest.raises(InputError, match=r"'nativ'.*auto, native, torch"):
        native.choose("lmf")
    with pytest.raises(InputError, match="no native routines"):
        native.check("native", None)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
@needs_compiler
def test_a_damaged_library_is_compiled_again(quick, damage) -> None:
    """A truncated one was SIGBUS, a flipped one SIGSEGV, and an empty one stayed for ever."""
    library = build.compiled("lerf")
    whole = library.read_bytes()
    flipped = whole[:5000] + bytes([whole[5000] ^ 255]) + whole[5001:]
    library.write_bytes({"truncated": whole[:5000], "flipped": flipped, "empty": b""}[damage])
    again = build.compiled("lerf")
    assert build.is_intact(again)
    assert again.stat().st_size > 5000
    assert list(again.parent.iterdir()) == [again]
    assert native.library("lerf") is not None


@needs_compiler
def test_a_library_that_others_may_write_is_compiled_again(quick) -> None:
    library = build.compiled("lerf")
    library.chmod(0o666)
    assert not build.is_intact(library)
    assert not build.compiled("lerf").stat().st_mode & 0o022


@needs_compiler
def test_a_link_is_not_loaded(quick, tmp_path) -> None:
    library = build.compiled("lerf")
    elsewhere = library.rename(tmp_path / library.name)
    library.symlink_to(elsewhere)
    again = build.compiled("lerf")
    assert again == library
    assert not again.is_symlink()


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
    own = build.compiled("lerf")
    build.toolchain.cache_clear()
    cache = make(tmp_path / "foreign")
    quick.setenv("CONTINUA_CACHE", str(cache))
    quick.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    planted = cache / own.name
    planted.write_bytes(own.read_bytes())  # even its content hash is right
    with caplog.at_level(logging.WARNING, logger="continua"):
        loaded = build.compiled("lerf")
        assert build.compiled("lerf") == loaded
    assert loaded.parent == tmp_path / "temporary" / f"continua-{os.getuid()}"
    assert loaded.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in cache.iterdir()] == [own.name]
    (told,) = (line for line in caplog.messages if "other users" in line)
    assert str(cache) in told
    assert str(loaded.parent) in told


@needs_compiler
def test_a_private_folder_that_was_taken_is_replaced(quick, tmp_path) -> None:
    cache, temporary = writable_by_others(tmp_path / "cache"), tmp_path / "temporary"
    temporary.mkdir()
    taken = writable_by_others(temporary / f"continua-{os.getuid()}")
    quick.setattr(tempfile, "tempdir", str(temporary))
    quick.setenv("CONTINUA_CACHE", str(cache))
    own = build.compiled("lerf")
    assert own.parent not in (cache, taken)
    assert own.parent.stat().st_mode & 0o777 == 0o700
    assert native.library("lerf") is not None


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o644), (0o002, 0o644), (0o077, 0o600)])
@needs_compiler
def test_libraries_respect_the_umask_but_only_their_owner_writes_them(quick, umask, mode) -> None:
    before = os.umask(umask)
    try:
        library = build.compiled("lerf")
    finally:
        os.umask(before)
    assert library.stat().st_mode & 0o777 == mode
    assert library.parent.stat().st_mode & 0o777 == 0o700


def test_a_hanging_compiler_is_reported_and_given_up(forgetful, caplog, tmp_path) -> None:
    """Its own processes end with it, and the next library does not wait again."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    forgetful.setenv("CXX", script(tmp_path, f"sleep 1000 > {pipe} & wait"))
    forgetful.setattr(build, "PATIENCE", 0.2)
    forgetful.setattr(build, "LONGEST_BUILD", 0.5)
    with caplog.at_level(logging.WARNING, logger="continua"):
        assert native.library("lmf") is None
        assert native.library("lerf") is None
    compiling, *told = caplog.messages
    assert "compiling the native routines" in compiling
    assert "took more than 0.5 s and was stopped" in told[0]
    assert len(told) == 1
    assert select.select([reader], [], [], 60)[0]  # the end: nobody has it open for writing any more
    assert os.read(reader, 1) == b""
    os.close(reader)


@needs_compiler
def test_structures_of_another_size_are_noticed(monkeypatch) -> None:
    class Longer(ctypes.Structure):
        _fields_ = (*calls.STRUCTURES["Field"]._fields_, ("more", ctypes.c_int64))

    monkeypatch.setitem(calls.STRUCTURES, "Field", Longer)
    with pytest.raises(RuntimeError, match=r"structure Field has \d+ bytes in C\+\+ and \d+ in structures.py"):
        Library(build.load("lmf"))


@needs_compiler
def test_every_routine_has_types() -> None:
    """ctypes guesses neither arguments nor results, and calls with too few or wrong ones do not reach C++."""
    for name in ("lmf", "lerf", "resampler", "convolution"):
        library = native.library(name)
        assert library.routines
        for routine in library.routines.values():
            assert routine.restype is ctypes.c_char_p
            assert len(routine.argtypes) > 2
    library, values = native.library("lerf"), torch.zeros(3)
    with pytest.raises(TypeError, match="takes 3 arguments"):
        library.call("lerf_levels", values, 3)
    with pytest.raises(ctypes.ArgumentError):
        library.call("lerf_levels", values, 3.5, values.to(torch.uint8))
    with pytest.raises(ValueError, match=r"torch\.float32.*expected torch\.uint8"):
        library.call("lerf_levels", values, 3, values)
    with pytest.raises(ValueError, match="not contiguous"):
        library.call("lerf_levels", torch.zeros(6)[::2], 3, values.to(torch.uint8))
