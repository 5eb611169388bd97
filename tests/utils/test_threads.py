"""As many threads as the process may use, which sleep while they wait."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.commands import ROOT
from utils import system
from utils.errors import InputError


@pytest.fixture
def quota(tmp_path, monkeypatch):
    """Writes the files of a container's quota, version 2 as one text, version 1 as two; of 8 processors."""
    monkeypatch.setattr(system, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(system, "QUOTA_V1", (tmp_path / "quota", tmp_path / "period"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)

    def write(*texts: str) -> None:
        for path, text in zip((system.QUOTA,) if len(texts) == 1 else system.QUOTA_V1, texts, strict=True):
            path.write_text(f"{text}\n")

    return write


@pytest.mark.parametrize(
    ("texts", "processors"),
    [
        (["200000 100000"], 2),
        (["250000 100000"], 3),
        (["10000 100000"], 1),
        (["max 100000"], 8),
        (["9900000 100000"], 8),
        (["300000", "100000"], 3),
        (["-1", "100000"], 8),
        (["damaged"], 8),
        ([], 8),
    ],
)
def test_the_quota_of_the_container_counts(quota, texts, processors) -> None:
    if texts:
        quota(*texts)
    assert system.available_processors() == processors


def test_the_affinity_of_the_process_counts(quota, monkeypatch) -> None:
    quota("400000 100000")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5, 7})
    assert system.available_processors() == 2


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
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that what is set below is undone at the end
        monkeypatch.delenv(name)
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
    with pytest.raises(InputError, match=r"PyTorch cannot be loaded: .*ulimit"):
        system.settle_threads()


def test_data_workers_leave_a_processor_to_the_training(quota, monkeypatch) -> None:
    assert [system.data_workers(number) for number in (0, 3, None, "auto")] == [0, 3, 7, 7]
    for text, workers in (("100000 100000", 0), ("200000 100000", 1)):
        quota(text)
        assert system.data_workers("auto") == workers
    quota("max 100000")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    assert system.data_workers() == system.MOST_WORKERS
    for name, value in {"RANK": "0", "MASTER_ADDR": "here", "WORLD_SIZE": "32", "LOCAL_WORLD_SIZE": "16"}.items():
        monkeypatch.setenv(name, value)
    assert system.data_workers() == 3, "processes of one machine share its processors"


def test_imports_are_not_collected() -> None:
    """Nor is what they made, ever after; what follows is."""
    code = (
        "import gc; from utils import system;"
        "before = gc.get_freeze_count();\n"
        "with system.uncollected(): made = [[] for _ in range(9999)]; inside = gc.isenabled()\n"
        "assert not inside and gc.isenabled() and gc.get_freeze_count() > before + 9999;"
        "gc.disable();\n"
        "with system.uncollected(): pass\n"
        "assert not gc.isenabled(), 'who has switched it off wants it off'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT)})


def test_threads_beside_pytorch(quota, monkeypatch) -> None:
    quota("max 100000")
    monkeypatch.setattr(system, "_chosen", [])
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)))
    assert system.threads_in_use() == 6
    assert system.threads_without_torch(3) == system.threads_in_use() == 3
    assert system.threads_without_torch() == 6, "the run before is forgotten"


def test_openmp_reads_that_its_threads_sleep() -> None:
    """What OpenMP shows when it starts, with the environment that it has read."""
    settled = [sys.executable, "-c", "from utils import system; system.settle_threads(3); import torch; torch.rand(9)"]
    environment = {"PYTHONPATH": str(ROOT), "OMP_DISPLAY_ENV": "true"}
    ended = subprocess.run(settled, capture_output=True, text=True, check=True, env=environment)
    shown = [line for line in ended.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
    if not shown:
        pytest.skip("this PyTorch has no OpenMP that shows its environment")
    assert all("PASSIVE" in line.upper() for line in shown)
