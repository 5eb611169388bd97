"""Building the kernels: several processes at once, and what happens where they cannot be built."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models import native
from models.native import build
from models.native.positions import warped_positions
from tests.commands import ROOT
from utils.errors import InputError
from utils.geometry.homographies import Homography

LOAD = "from models import native; native.library('lmf'); native.library('lmf'); print(native.library('lmf') is None)"
needs_compiler = pytest.mark.skipif(native.library("lmf") is None, reason="needs a C++ compiler")


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A process that has built nothing yet, with an empty cache."""
    monkeypatch.setattr(native, "_outcomes", {})
    monkeypatch.setenv("CONTINUA_CACHE", str(tmp_path / "cache"))
    native._tell.cache_clear()
    build.toolchain.cache_clear()
    yield monkeypatch
    build.toolchain.cache_clear()


def start(code: str, **environment: object) -> subprocess.Popen:
    environment = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True, **pipes)


@needs_compiler
def test_two_processes_on_an_empty_cache(tmp_path) -> None:
    processes = [start(LOAD, CONTINUA_CACHE=tmp_path / "new" / "cache") for _ in range(2)]
    assert [process.communicate(timeout=300) for process in processes] == [("False\n", "")] * 2
    (library,) = (tmp_path / "new" / "cache").iterdir()  # nothing half-written stays
    assert library.name.startswith("lmf-")


def test_without_a_compiler_one_line(tmp_path) -> None:
    printed, told = start(LOAD, CONTINUA_CACHE=tmp_path / "cache", PATH=tmp_path, CXX="").communicate(timeout=300)
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


def broken_library(folder: Path) -> dict[str, str]:
    """The compiler tells its macros but leaves an empty file."""
    compiler = folder / "compiler"
    compiler.write_text("#!/bin/sh\nexit 0\n")
    compiler.chmod(0o755)
    return {"CXX": str(compiler)}


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (broken_compiler, "compiler false fails"),
        (unknown_flag, "no-such-flag"),
        (unwritable_cache, "CONTINUA_CACHE"),
        (impossible_cache, "CONTINUA_CACHE"),
        (broken_library, "CONTINUA_CACHE"),
    ],
)
def test_breakage_is_told_once_and_pytorch_computes(forgetful, caplog, tmp_path, breakage, words) -> None:
    for name, value in breakage(tmp_path).items():
        forgetful.setenv(name, value)
    with caplog.at_level(logging.WARNING, logger="continua"):
        assert native.library("lmf") is None
        assert native.choose("lmf") is None
    (record,) = caplog.records
    assert words in record.getMessage()
    assert "\n" not in record.getMessage()
    with native.using("native"), pytest.raises(InputError, match=words) as caught:
        native.choose("lmf")
    assert "\n" not in str(caught.value)


@needs_compiler
def test_without_openmp_threads_are_made_otherwise(forgetful, tmp_path) -> None:
    grid = Homography(torch.tensor([[2.0, 0.1, 0], [0, 2, 0], [0.001, 0, 1]])).grid((30, 40), (60, 80))
    expected = warped_positions(build.load("positions"), grid, range(60))
    compiler, _, _ = build.toolchain()
    refuses = tmp_path / "compiler"
    refuses.write_text(f'#!/bin/sh\ncase "$*" in *-fopenmp*) exit 1;; esac\nexec {" ".join(compiler)} "$@"\n')
    refuses.chmod(0o755)
    forgetful.setenv("CXX", str(refuses))
    build.toolchain.cache_clear()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        actual = warped_positions(build.load("positions"), grid, range(60))
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, actual, expected))
    assert build.OPENMP not in build.toolchain()[1]


@needs_compiler
def test_flags_and_sources_make_libraries_of_their_own(forgetful, tmp_path) -> None:
    first = build.load("lmf")._name
    assert build.load("lmf")._name == first
    build.toolchain.cache_clear()
    forgetful.setenv("CONTINUA_CXXFLAGS", "-DANYTHING")
    second = build.load("lmf")._name
    sources = tmp_path / "sources"
    sources.mkdir()
    for source in build.SOURCES.glob("*.[ch]*"):
        (sources / source.name).write_bytes(source.read_bytes())
    (sources / "parallel.h").write_text((sources / "parallel.h").read_text() + "// changed\n")
    forgetful.setattr(build, "SOURCES", sources)
    assert len({first, second, build.load("lmf")._name}) == 3


@needs_compiler
def test_a_cache_may_be_the_present_folder(forgetful, tmp_path) -> None:
    forgetful.chdir(tmp_path)
    forgetful.setenv("CONTINUA_CACHE", ".")
    assert native.library("positions") is not None
    (library,) = tmp_path.glob("*.so")
    assert library.name.startswith("positions-")


def test_users_without_a_home_folder_are_told(forgetful) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("CONTINUA_CACHE", "XDG_CACHE_HOME"):
        forgetful.delenv(name, raising=False)
    forgetful.setattr(build.Path, "home", no_home)
    with pytest.raises(InputError, match="home"):
        build.cache_folder()
    assert native.library("positions") is None


def test_unknown_backends_are_explained() -> None:
    with native.using("nativ"), pytest.raises(InputError, match=r"'nativ'.*auto, native, torch"):
        native.choose("lmf")
    with pytest.raises(InputError, match="no kernels"):
        native.check("native", None)
