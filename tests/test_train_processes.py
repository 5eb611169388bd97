"""train.py in several processes, as under torchrun."""

import fcntl
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch.distributed import distributed_c10d
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import train
from models.checkpoints.loading import load_checkpoint
from tests import dying_train
from tests.commands import ROOT, call, mistake
from tests.faults import equal
from tests.several import ended, fork, in_processes, kill_at
from tests.trainings import checkpoint_of, train_config
from training import loop

pytestmark = [pytest.mark.usefixtures("empty_folder"), pytest.mark.slow]
SGD = {"name": "sgd", "args": {"lr": 1.0}}


def score_of(name: str) -> str:
    *_, last = Path(f"save/{name}/history.csv").read_text().splitlines()
    return last.split(",")[4]


def test_two_processes_train_and_validate_as_one(pictures) -> None:
    """One step of plain gradient descent at a rate of 1, in parts: the weights tell the gradient."""
    config = train_config(pictures, epoch_max=1, optimizer=SGD, multi_step_lr=None, accumulate=2)
    options = ("--device", "cpu", "--set", "train_dataset.dataset.args.repeat=2")  # 6 items, a batch of 4
    call(train, "--config", config, "--name", "one", *options)
    statuses, said = in_processes(2, train, ["--config", config, "--name", "two", *options])
    assert statuses == [0, 0], said
    one, two = (checkpoint_of(name) for name in ("one", "two"))
    assert (one["step"], two["step"], two["processes"]) == (1, 1, 2)
    for name, value in one["model"]["sd"].items():
        assert torch.allclose(two["model"]["sd"][name], value, rtol=0, atol=1e-6), name
    assert two["losses"][0] == pytest.approx(one["losses"][0], abs=1e-6)
    assert two["best"] == pytest.approx(one["best"], abs=1e-4)
    assert "wrote" in said[0]
    assert said[1] == ""  # only the first one speaks


def test_validation_is_shared_exactly(pictures) -> None:
    """At a learning rate of 0 the model is the same, and so is every digit of the score of 3 whole pictures at random
    scales."""
    config = train_config(pictures, epoch_max=1, multi_step_lr=None)
    args = "{scale_min: 2, scale_max: 4, inp_size: null, sample_q: null, augment: false}"
    val = f"val_dataset={{dataset: {{args: {{repeat: 1}}}}, wrapper: {{args: {args}}}}}"
    options = ["--config", config, "--device", "cpu", "--set", "optimizer.args.lr=0", val]
    call(train, *options, "--name", "one")
    statuses, said = in_processes(2, train, [*options, "--name", "two"])
    assert statuses == [0, 0], said
    assert checkpoint_of("one")["best"] == checkpoint_of("two")["best"]


def test_killed_processes_go_on_exactly(pictures) -> None:
    """In the middle of an epoch, with data workers, an average of the weights, and random numbers of each process."""
    config = train_config(pictures, epoch_max=2, ema=0.9, precision="bfloat16")
    options = ["--config", config, "--device", "cpu", "--save-every", 1, "--set", "num_workers=1"]
    statuses, said = in_processes(3, train, [*options, "--name", "whole"])
    assert statuses == [0, 0, 0], said
    statuses, said = in_processes(3, train, [*options, "--name", "parts"], kill_at(4, rank=1))
    assert statuses == [1, -signal.SIGKILL, 1], said
    assert "another process of this job ended or did not answer; save/parts/epoch-last.pth holds step 4" in said[0]
    assert (said[1], said[2]) == ("", "")
    assert load_checkpoint("save/parts/epoch-last.pth")["step"] == 4
    statuses, said = in_processes(3, train, [*options, "--name", "parts", "--auto-resume"])
    assert statuses == [0, 0, 0], said
    assert equal(checkpoint_of("parts"), checkpoint_of("whole"))


def test_a_signal_to_one_process_stops_all_in_order(pictures) -> None:
    config = train_config(pictures, epoch_max=2, val_dataset=None)
    options = ["--config", config, "--device", "cpu", "--name", "r"]
    statuses, said = in_processes(2, train, options, kill_at(1, rank=1, number=signal.SIGTERM))
    assert statuses == [143, 143], said
    assert "step 2: stopped by SIGTERM; save/r/epoch-last.pth holds step 2" in said[0]
    assert load_checkpoint("save/r/epoch-last.pth")["step"] == 2


def test_a_silent_process_ends_the_job_after_the_timeout(pictures) -> None:
    """Which is shortened when the other process waits, so that nothing depends on how fast both have come there."""

    def lock() -> None:
        """Until this process ends; waits while another one has it."""
        fcntl.lockf(os.open("alive", os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)

    def prepare(rank: int) -> None:
        def train_step(run, batch):
            if run.step == 1 and rank == 0:
                group = distributed_c10d._get_default_group()
                assert group._get_backend(torch.device("cpu")).options._timeout == timedelta(minutes=10)
                distributed_c10d._set_pg_timeout(timedelta(seconds=1), group)
            elif run.step == 1:
                lock()
            return step_of_loop(run, batch)

        if rank == 0:
            lock()
        step_of_loop = loop.train_step
        loop.train_step = train_step

    config = train_config(pictures, epoch_max=1, val_dataset=None)
    options = ["--config", config, "--device", "cpu", "--name", "r", "--timeout", 10]
    statuses, said = in_processes(2, train, options, prepare)
    assert statuses == [1, 1], said
    assert "did not answer; save/r/epoch-last.pth holds step 1" in said[0]


def torchrun(options: list) -> None:
    """As users call it."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", 2, "--max-restarts", 1]
    command = [sys.executable, "-m", *launcher, "-m", "tests.dying_train", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def torchrun_of_forks(options: list) -> None:
    """What starts and watches the processes under torchrun, with processes that have imported PyTorch."""
    output = Path("torchrun.txt")
    assert ended(fork(ForkingTorchrun, options, output)) == 0, output.read_text()


class ForkingTorchrun:
    @staticmethod
    def main(options: list[str]) -> None:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=2, run_id="job", max_restarts=1, start_method="fork",
            rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        )  # fmt: skip
        elastic_launch(config, dying_train.main)(options)


@pytest.mark.parametrize("launch", [torchrun_of_forks, pytest.param(torchrun, marks=pytest.mark.thorough)])
def test_torchrun_starts_a_job_again_that_goes_on_exactly(pictures, launch) -> None:
    config = train_config(pictures, epoch_max=1, multi_step_lr=None)
    options = ["--config", config, "--device", "cpu", "--save-every", 1]
    statuses, said = in_processes(2, train, [*options, "--name", "whole"])
    assert statuses == [0, 0], said
    launch([*options, "--name", "parts", "--overwrite"])
    assert "epoch-last.pth continued from step 2" in Path("save/parts/log.txt").read_text()
    assert equal(checkpoint_of("parts"), checkpoint_of("whole"))


def test_jobs_that_may_start_again(pictures, capsys) -> None:
    """--auto-resume starts a run, continues it, and has nothing to do where it is done; so does a restart, also of a
    job that was to overwrite an earlier run."""
    config = train_config(pictures, epoch_max=1, val_dataset=None, multi_step_lr=None)
    options = ("--config", config, "--device", "cpu", "--name", "r")
    for _ in range(2):
        call(train, *options, "--auto-resume")
        assert load_checkpoint("save/r/epoch-last.pth")["step"] == 3
    call(train, *options, "--auto-resume", "--set", "epoch_max=2")
    assert load_checkpoint("save/r/epoch-last.pth")["step"] == 6
    assert "leave --resume and --overwrite out" in mistake(capsys, train, *options, "--auto-resume", "--overwrite")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
        call(train, *options, "--overwrite", "--set", "epoch_max=3")
    assert "continued from step 6" in Path("save/r/log.txt").read_text()
    call(train, *options, "--overwrite")
    assert load_checkpoint("save/r/epoch-last.pth")["step"] == 3


def test_a_mistake_is_told_once(pictures) -> None:
    """Whoever meets it: all of them, the first in a folder that is in use, or one that cannot read a picture."""
    config = train_config(pictures, epoch_max=1, val_dataset=None)
    for change, words in (
        ("accumulate=3", "by 2 processes"),
        ("epoch_mx=1", "epoch_mx"),
    ):
        options = ["--config", config, "--device", "cpu", "--name", "r", "--set", change]
        statuses, said = in_processes(2, train, options)
        assert statuses == [2, 2], said
        assert words in said[0]
        assert said[0].count("\n") == 1
        assert said[1] == ""
    assert not Path("save/r").exists()
    (pictures / "b.png").write_text("broken")  # found in the middle of the training, by whoever gets it first
    no_cache = ("--set", "train_dataset.dataset.args.cache=none", "--set", "train_dataset.dataset.args.repeat=8")
    statuses, said = in_processes(2, train, ["--config", config, "--device", "cpu", "--name", "r", *no_cache])
    assert 2 in statuses, said
    assert sum(text.count("b.png") for text in said) >= 1
