"""Which GPU each of several processes takes."""

import pytest
import torch

from utils.errors import InputError
from utils.system import select_device


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
    [
        (("cuda:0",), "give --device cuda"),
        (("auto", "1"), "more than 1 processes here, and 1 such GPUs"),
        (("auto", "1,7"), "--gpu 1,7: "),
        (("auto", "1,x"), "--gpu 1,x: "),
    ],
)
def test_processes_do_not_share_a_gpu(two_gpus, options, words) -> None:
    with pytest.raises(InputError, match=words):
        select_device(*options)
    assert two_gpus == []


def test_without_torchrun_gpus_are_named_as_ever(two_gpus, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert select_device("cuda:0") == (torch.device("cuda", 0), None)
    assert select_device("auto", "1") == (torch.device("cuda", 1), None)
    assert two_gpus == []
