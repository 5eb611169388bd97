"""The cases of this folder once more: on routines that check every memory access and every undefined operation, and on
narrower vectors. `make test` runs the former on few examples of each property, .ci/run all (marker `sanitizer`)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.native import compiling
from tests.commands import ROOT

CHECKED = "-fsanitize=address,undefined -fno-sanitize-recover=all -g -O1"
NARROW, NARROWER = "-mno-avx512f", "-mno-avx"
LIBRARIES = ("lmf", "resampler", "lerf", "convolution", "subpixel")
FILES = [str(Path(__file__).with_name(f"test_{name}.py")) for name in (*LIBRARIES, "fuzz")]


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """What compiles with other flags and enough time, in the usual cache."""
    monkeypatch.setattr(compiling, "LONGEST_BUILD", 600)
    monkeypatch.setattr(compiling, "_spent", 0.0)
    compiling.toolchain.cache_clear()
    yield monkeypatch
    compiling.toolchain.cache_clear()


def runtime() -> str:
    """The shared libraries that instrumented code needs in the process before all others, the second one for its
    exceptions; skips where there are none."""
    try:
        compiler, _, _ = compiling.toolchain()
    except compiling.BuildError as error:
        pytest.skip(str(error))
    paths = []
    for name in ("libasan.so", "libstdc++.so"):
        found = subprocess.run([*compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=False)
        paths.append(Path(found.stdout.strip()))
    if not all(path.is_absolute() and path.exists() for path in paths):
        pytest.skip("the compiler has no address sanitizer that can be loaded into Python")
    return ":".join(str(path.resolve()) for path in paths)


def run(flags: str, *command: str) -> subprocess.CompletedProcess:
    """Python in a process of its own, on routines compiled with these flags."""
    environment = {**os.environ, "CONTINUA_CXXFLAGS": flags}
    if "sanitize" in flags:
        environment |= {"ASAN_OPTIONS": "detect_leaks=0", "LD_PRELOAD": runtime()}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


def compile_with(compiler: pytest.MonkeyPatch, flags: str) -> None:
    """Fill the cache with all libraries, two at a time; skips where the compiler does not know the flags."""
    compiler.setenv("CONTINUA_CXXFLAGS", flags)
    compiling.toolchain.cache_clear()
    try:
        compiling.toolchain()
    except compiling.BuildError as error:
        pytest.skip(f"not a compiler for x86: {error}")
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(compiling.compiled, LIBRARIES))


def check_cases(flags: str, *options: str) -> None:
    """Run this folder's cases, or files of it, on the libraries compiled with these flags."""
    # What limits the address space cannot run beside the sanitizers, which reserve much of it.
    cases = ("-q", "--capture=sys", "-p", "no:cacheprovider", "--hypothesis-seed=0")
    done = run(flags, "-m", "pytest", *cases, *options, "-k", "not (too_little_memory or triton)")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "skipped" not in done.stdout


def test_some_cases_pass(compiler) -> None:
    """Of every routine at any shapes."""
    compile_with(compiler, CHECKED)
    check_cases(CHECKED, "--hypothesis-profile=short", *FILES[2:])


@pytest.mark.sanitizer
@pytest.mark.parametrize(
    "flags",
    [CHECKED, f"{CHECKED} {NARROWER}", NARROW, NARROWER],
    ids=["checked", "checked and narrower", "narrow", "narrower"],
)
def test_cases_pass(compiler, flags) -> None:
    compile_with(compiler, flags)
    check_cases(flags, *FILES)


def test_a_fault_is_found(compiler, tmp_path) -> None:
    """The tests above are not vacuous: a read behind the end of an array ends the process."""
    source = 'extern "C" float read(const float *from, int at) { float own[2] = {*from, 1}; return own[at]; }'
    (tmp_path / "fault.cpp").write_text(source)
    compiler.setattr(compiling, "SOURCES", tmp_path)
    compiler.setenv("CONTINUA_CACHE", str(tmp_path / "cache"))
    compiler.setenv("CONTINUA_CXXFLAGS", CHECKED)
    runtime()  # skips without one
    code = (
        "import ctypes, sys; read = ctypes.CDLL(sys.argv[1]).read; read.restype = ctypes.c_float;"
        "[print(read(ctypes.byref(ctypes.c_float(5)), at), flush=True) for at in (0, 2)]"
    )
    fault = run(CHECKED, "-c", code, str(compiling.compiled("fault")))
    assert fault.stdout == "5.0\n"
    assert fault.returncode != 0
    assert "Sanitizer" in fault.stderr or "runtime error" in fault.stderr
