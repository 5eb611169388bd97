"""Threads, memory and devices."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.commands import ROOT
from utils import system
from utils.errors import InputError
from utils.system import select_device


@pytest.fixture
def quota(tmp_path, monkeypatch):
    """Writes the file of a container's quota, of 8 processors."""
    monkeypatch.setattr(system, "QUOTA", tmp_path / "cpu.max")
    allow(monkeypatch, 8)
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that what is set below is undone at the end
        monkeypatch.delenv(name)
    return system.QUOTA.write_text


def allow(monkeypatch, count: int) -> None:
    """Let this process run on so many processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(count)), raising=False)


@pytest.mark.parametrize(
    ("text", "affinity", "processors"),
    [("200000 100000", 8, 2), ("250000 100000", 8, 3), ("10000 100000", 8, 1), ("max 100000", 8, 8),
     ("9900000 100000", 8, 8), ("damaged", 8, 8), ("", 8, 8), ("400000 100000", 2, 2)],
)  # fmt: skip
def test_the_quota_and_the_affinity_count(quota, monkeypatch, text, affinity, processors) -> None:
    quota(text)
    allow(monkeypatch, affinity)
    assert system.available_processors() == processors


@pytest.mark.parametrize(
    ("number", "environment", "used", "policy"),
    [
        (None, {}, 2, "passive"),
        (3, {}, 3, "passive"),
        (None, {"OMP_NUM_THREADS": "6"}, 6, "passive"),
        (3, {"OMP_NUM_THREADS": "6"}, 3, "passive"),
        (None, {"OMP_WAIT_POLICY": "active"}, 2, "active"),
        (None, {"GOMP_SPINCOUNT": "100"}, 2, None),
    ],
)
def test_options_before_environment_before_quota(quota, monkeypatch, number, environment, used, policy) -> None:
    quota("200000 100000")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    now = [6]
    torch = SimpleNamespace(get_num_threads=lambda: now[-1], set_num_threads=now.append)
    monkeypatch.setitem(sys.modules, "torch", torch)
    system.settle_threads(number)
    assert now[-1] == used
    assert os.environ.get("OMP_WAIT_POLICY") == policy


def test_a_pytorch_that_does_not_load_is_an_error_of_the_user(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"PyTorch cannot be loaded: .*install"):
        system.settle_threads()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_a_limit_in_which_pytorch_does_not_load_is_one_line() -> None:
    """Somewhat larger ones end the process while it loads, which another one has found before."""
    command = f"ulimit -v 900000; exec {sys.executable} demo.py --input load/samples/coffee.png --scale 2 --model s"
    ended = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert "ulimit -v" in ended.stderr


def test_data_workers_leave_a_processor_to_the_training(quota, monkeypatch) -> None:
    assert [system.data_workers(number) for number in (0, 3, None, "auto")] == [0, 3, 7, 7]
    for text, workers in (("100000 100000", 0), ("200000 100000", 1)):
        quota(text)
        assert system.data_workers("auto") == workers
    quota("max 100000")
    allow(monkeypatch, 64)
    assert system.data_workers() == system.MOST_WORKERS
    for name, value in {"RANK": "0", "MASTER_ADDR": "here", "WORLD_SIZE": "32", "LOCAL_WORLD_SIZE": "16"}.items():
        monkeypatch.setenv(name, value)
    assert system.data_workers() == 3, "processes of one machine share its processors"


def test_threads_beside_pytorch(quota, monkeypatch) -> None:
    quota("max 100000")
    monkeypatch.setattr(system, "_chosen", [])
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    allow(monkeypatch, 4)
    assert system.threads_in_use() == 6
    assert system.threads_without_torch(3) == system.threads_in_use() == 3
    assert system.threads_without_torch() == 6, "the run before is forgotten"


def test_openmp_reads_that_its_threads_sleep() -> None:
    """What OpenMP shows when it starts, with the environment that it has read."""
    code = "from utils import system; system.settle_threads(3); import torch; torch.rand(9)"
    lines = run(code, OMP_DISPLAY_ENV="true").stderr.splitlines()
    shown = [line for line in lines if "OMP_WAIT_POLICY" in line]
    if not shown:
        pytest.skip("this PyTorch has no OpenMP that shows its environment")
    assert all("PASSIVE" in line.upper() for line in shown)


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Python code in a process of its own, with nothing else in its environment."""
    place = {"PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=place)


def test_the_smallest_limit_counts(tmp_path, monkeypatch) -> None:
    limit, usage = tmp_path / "limit", tmp_path / "usage"
    monkeypatch.setattr(system, "LIMIT", limit)
    monkeypatch.setattr(system, "USAGE", usage)
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
    for words in ("can't allocate memory: you tried ...", "could not create a primitive", "can't start new thread"):
        assert system.is_memory_error(RuntimeError(words))
    assert system.is_memory_error(ImportError("libx.so: failed to map segment from shared object"))
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
    assert (int(run(code, **environment).stdout) < 100) == kept


@pytest.fixture
def two_gpus(monkeypatch) -> list[torch.device]:
    """A machine with two GPUs, on which torchrun has started this process as its second; those made the default."""
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    started = {"RANK": 5, "WORLD_SIZE": 8, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "host"}
    for name, value in started.items():
        monkeypatch.setenv(name, str(value))
    return chosen


@pytest.mark.parametrize(
    ("options", "number"), [(("auto",), 1), (("cuda",), 1), (("auto", "0,1"), 1), (("auto", "1,0"), 0)]
)
def test_each_process_takes_a_gpu_of_its_own(two_gpus, options, number) -> None:
    assert select_device(*options) == (torch.device("cuda", number), None)
    assert two_gpus == [torch.device("cuda", number)]
    assert select_device("cpu")[0].type == "cpu"


@pytest.mark.parametrize(
    ("options", "words"),
    [(("cuda:0",), "give --device cuda"), (("auto", "1"), "more than 1 processes here, and 1 such GPUs"),
     (("auto", "1,7"), "--gpu 1,7: "), (("auto", "1,x"), "--gpu 1,x: ")],
)  # fmt: skip
def test_processes_do_not_share_a_gpu(two_gpus, options, words) -> None:
    with pytest.raises(InputError, match=words):
        select_device(*options)
    assert two_gpus == []


def test_without_torchrun_gpus_are_named_as_ever(two_gpus, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert select_device("cuda:0") == (torch.device("cuda", 0), None)
    assert select_device("auto", "1") == (torch.device("cuda", 1), None)
    assert two_gpus == []
    for device, gpu, words in (
        ("cuda:2", None, "has 2 CUDA devices"), ("gpu", None, "expected auto, cpu"),
        ("mps", None, "--device mps is not"), ("auto", "one", "--gpu one: expected the number"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            select_device(device, gpu)
    assert select_device("auto", "2") == (torch.device("cpu"), "--gpu 2: no such GPU on this machine, using the CPU")
