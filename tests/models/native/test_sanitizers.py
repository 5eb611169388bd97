"""The same cases on kernels that check every memory access and every undefined operation, and on narrower vectors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.native import build
from tests.commands import ROOT

FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=all -g -O1"


def runtime() -> str | None:
    """The shared library that instrumented code needs in the process before anything else."""
    try:
        compiler, _, _ = build.toolchain()
    except build.BuildError:
        return None
    found = subprocess.run([*compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=False)
    path = Path(found.stdout.strip())
    return str(path.resolve()) if path.is_absolute() and path.exists() else None


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a process needs to build and run instrumented kernels; skips where the compiler cannot make them."""
    preload = runtime()
    if preload is None:
        pytest.skip("the compiler has no address sanitizer that can be loaded into Python")
    checks = {"ASAN_OPTIONS": "detect_leaks=0", "LD_PRELOAD": preload}
    own = {"CONTINUA_CXXFLAGS": FLAGS, "CONTINUA_CACHE": str(tmp_path / "cache")}
    return {**os.environ, **checks, **own}


CASES = ("test_lmf.py", "test_lerf.py", "test_positions.py")


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("cases", CASES)
def test_cases_pass(environment, cases) -> None:
    # What limits the address space cannot run beside the sanitizers, which reserve much of it.
    options = ("-q", "-p", "no:cacheprovider", "-k", "not too_little_memory")
    done = run(environment, "-m", "pytest", *options, str(Path(__file__).with_name(cases)))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "skipped" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["-mno-avx512f", "-mno-avx"])
def test_cases_pass_with_narrower_vectors(tmp_path, monkeypatch, flag) -> None:
    monkeypatch.setenv("CONTINUA_CXXFLAGS", flag)
    build.toolchain.cache_clear()
    try:
        build.toolchain()
    except build.BuildError as error:
        pytest.skip(f"not a compiler for x86: {error}")
    finally:
        build.toolchain.cache_clear()
    environment = {**os.environ, "CONTINUA_CACHE": str(tmp_path / "cache")}
    done = run(environment, "-m", "pytest", "-q", *(str(Path(__file__).with_name(cases)) for cases in CASES))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "skipped" not in done.stdout


def test_a_fault_is_found(environment, tmp_path) -> None:
    """The test above is not vacuous: a read behind the end of an array ends the process."""
    source = 'extern "C" float read(const float *from, int at) { float own[2] = {*from, 1}; return own[at]; }'
    (tmp_path / "fault.cpp").write_text(source)
    code = (
        "import ctypes, pathlib, sys; from models.native import build; build.SOURCES = pathlib.Path(sys.argv[1]);"
        "read = build.load('fault').read; read.restype = ctypes.c_float;"
        "print(read(ctypes.byref(ctypes.c_float(5)), int(sys.argv[2])))"
    )
    assert run(environment, "-c", code, str(tmp_path), "0").stdout == "5.0\n"
    fault = run(environment, "-c", code, str(tmp_path), "2")
    assert fault.returncode != 0
    assert "Sanitizer" in fault.stderr or "runtime error" in fault.stderr
