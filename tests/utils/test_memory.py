"""How much memory there is, and what becomes of that which was freed."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT
from utils import system
from utils.errors import InputError


def test_the_smallest_limit_counts(tmp_path, monkeypatch) -> None:
    limit, usage = tmp_path / "limit", tmp_path / "usage"
    monkeypatch.setattr(system, "CGROUPS", ((limit, usage),))
    free = system.available_memory()
    assert free is None or free > 0
    usage.write_text("1000\n")
    limit.write_text("max\n")
    assert (system.available_memory() is None) == (free is None)
    limit.write_text("1300\n")
    assert system.available_memory() == 300


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_the_limit_of_the_process_counts(monkeypatch) -> None:
    resource = pytest.importorskip("resource")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (used + 2**20, 0))
    assert system.available_memory() < 2**21


def test_too_much_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(system, "available_memory", lambda: 2**30)
    system.check_memory(2**29, "this")
    with pytest.raises(InputError, match=r"12\.0 KiB of memory, --memory allows 1\.0 KiB"):
        system.check_memory(12 * 2**10, "this", allowed=2**10)
    with pytest.raises(InputError, match=r"this needs about 2\.0 GiB of memory, 1\.0 GiB are free"):
        system.check_memory(2**31, "this")
    monkeypatch.setattr(system, "available_memory", lambda: None)
    system.check_memory(2**60, "this")


def test_the_end_of_memory_is_an_error_of_the_user() -> None:
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")):
        with pytest.raises(InputError, match="that needs more memory"), system.memory_errors("that"):
            raise error
    with pytest.raises(RuntimeError, match="shapes"), system.memory_errors("that"):
        raise RuntimeError("shapes do not match")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize(("environment", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "1000"}, False)])
def test_freed_memory_is_used_again(environment, kept) -> None:
    """By pages that the system hands out while 16 MiB are taken and freed ten times, 4,096 pages each time; not where
    the user has said how memory is allocated."""
    code = (
        "import resource; from utils.system import keep_freed\n"
        "keep_freed(); size = 2**24; b'x' * size\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(10): b'x' * size\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT), **environment},
    )
    assert (int(ended.stdout) < 100) == kept, ended.stdout


def test_other_c_libraries_are_left_alone(monkeypatch) -> None:
    for name in system.ALLOCATION:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(system.ctypes, "CDLL", lambda _: object())
    system.keep_freed()
