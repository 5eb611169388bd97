"""Trainings that were interrupted go on exactly, and with other settings only when those are named."""

import multiprocessing
import shutil
import signal
from pathlib import Path

import pytest
import torch
from torch.nn.functional import dropout

import train
from models.checkpoints import loading as checkpoints
from models.checkpoints.loading import load_checkpoint
from tests import faults
from tests.commands import call, failure, mistake
from tests.faults import equal
from tests.several import in_processes, kill_at
from tests.trainings import checkpoint_of, train_config, trained
from training import loop
from training.state import Run
from utils.config import load_config

pytestmark = pytest.mark.usefixtures("empty_folder")


CHANGES = [  # as --set, and the settings that the line names
    ("seed=5", ["seed"]),
    ("multi_step_lr={milestones: [1], gamma: 0.5}", ["multi_step_lr.milestones", "multi_step_lr.gamma"]),
    ("train_dataset.wrapper.args.inp_size=9", ["train_dataset.wrapper.args.inp_size"]),
    ("val_dataset.dataset.args.first_k=1", ["val_dataset.dataset.args.first_k"]),
    ("train_dataset={batch_size: 2, dataset: {args: {repeat: 2}}}", ["train_dataset.batch_size", "args.repeat"]),
    ("model.args.local_ensemble=false", ["model.args.local_ensemble"]),
    ("data_norm={inp: {sub: [0], div: [1]}}", ["data_norm.inp.sub", "data_norm.inp.div"]),
    ("optimizer={name: sgd, args: {lr: 0.1}}", ["optimizer.name", "optimizer.args.lr"]),
    ("optimizer.args.weight_decay=0.1", ["optimizer.args.weight_decay"]),
]


@pytest.mark.slow
def test_resume_names_every_other_setting(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, multi_step_lr=None)
    call(train, "--config", config, "--name", "r", "--device", "cpu")
    before = {path: path.read_bytes() for path in Path("save/r").iterdir() if path.is_file()}
    resume = ("--config", config, "--name", "r", "--resume", "--set", "epoch_max=2")
    for change, keys in CHANGES:
        line = mistake(capsys, train, *resume, "--set", change)
        assert [key for key in keys if key not in line] == []
        assert line.count(" -> ") == len(keys)
    assert "epoch_max" in mistake(capsys, train, *resume, "--set", "epoch_max=1")
    Path("save/r/history.csv").write_text("epoch,step\n1,x\n")
    assert "history.csv is damaged" in mistake(capsys, train, *resume)
    Path("save/r/history.csv").write_bytes(before[Path("save/r/history.csv")])
    assert "--resume" in mistake(capsys, train, "--config", config, "--name", "new", "--allow-changes", "seed")
    assert {path: path.read_bytes() for path in Path("save/r").iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_resume_takes_changes_on_record(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, multi_step_lr=None, val_dataset=None)
    before = trained(config, "r")["model"]["sd"]
    changes = ("epoch_max=2", "seed=5", "optimizer.args={lr: 0, weight_decay: 0.1}")
    resume = ("--config", config, "--name", "r", "--resume", "--set", *changes)
    assert "seed" not in mistake(capsys, train, *resume, "--allow-changes", "seed", "optimizer.args.l")
    call(train, *resume, "--allow-changes", "seed", "optimizer.args")
    log = Path("save/r/log.txt").read_text()
    assert "seed: None -> 5" in log
    assert "optimizer.args.lr: 0.001 -> 0" in log
    former, now = (load_config(f"save/r/{name}.yaml") for name in ("config-until-step-3", "config"))
    assert (former["optimizer"]["args"], former.get("seed")) == ({"lr": 0.001}, None)
    assert (now["optimizer"]["args"], now["seed"]) == ({"lr": 0, "weight_decay": 0.1}, 5)
    state = checkpoint_of("r")
    assert state["optimizer"]["sd"]["param_groups"][0]["weight_decay"] == 0.1
    assert equal(state["model"]["sd"], before)  # at a learning rate of 0
    call(train, *resume, "epoch_max=3")  # they are the run's own now


@pytest.mark.slow
def test_a_run_goes_on_without_a_picture_that_broke(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=2, multi_step_lr=None, val_dataset=None)
    no_cache = ("--set", "train_dataset.dataset.args.cache=none", "--set", "train_dataset.dataset.args.repeat=8")
    options = ("--config", config, "--name", "r", "--device", "cpu", *no_cache)
    call(train, *options, "--set", "epoch_max=1")  # 6 steps
    (pictures / "c.png").write_text("broken")
    assert "c.png" in failure(capsys, train, *options, "--resume")[-1]
    assert 6 <= load_checkpoint("save/r/epoch-last.pth")["step"] < 12
    (pictures / "c.png").unlink()
    call(train, *options, "--resume")
    assert "steps an epoch: 6 -> 4" in Path("save/r/log.txt").read_text()
    assert load_checkpoint("save/r/epoch-last.pth")["step"] == 8


@pytest.fixture
def noisy(monkeypatch) -> None:
    """Models that draw random numbers themselves, in training."""

    def make(spec, **options):
        model = make_continuous(spec, **options)
        model.encoder.register_forward_hook(lambda module, _, features: dropout(features, 0.2, module.training))
        return model

    make_continuous = checkpoints.make_continuous
    monkeypatch.setattr(checkpoints, "make_continuous", make)


@pytest.mark.slow
@pytest.mark.usefixtures("noisy")
@pytest.mark.parametrize(
    ("workers", "number", "word"),
    [
        (0, signal.SIGTERM, "SIGTERM"),
        (2, signal.SIGINT, "Ctrl-C"),  # which a shell sends to the workers, too
    ],
)
def test_runs_that_a_signal_stops_go_on_exactly(pictures, monkeypatch, capsys, workers, number, word) -> None:
    """In the middle of an epoch, and without workers in the uninterrupted run."""
    config = train_config(pictures, epoch_max=2)
    trained(config, "whole")

    def step(run, batch):
        if run.step == 4:
            signal.raise_signal(number)
        return train_step(run, batch)

    train_step = loop.train_step
    options = ("--config", config, "--name", "parts", "--device", "cpu", "--set", f"num_workers={workers}")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", step)
        with pytest.raises(SystemExit) as ended:
            call(train, *options)
    assert ended.value.code == 128 + number
    assert not multiprocessing.active_children()  # they would hold up the end of the program
    said = f"step 5: stopped by {word}; save/parts/epoch-last.pth holds step 5, from which --resume"
    assert said in capsys.readouterr().err
    assert load_checkpoint("save/parts/epoch-last.pth")["step"] == 5
    call(train, *options, "--resume")
    for file in ("epoch-last.pth", "epoch-best.pth", "epoch-2.pth"):
        assert equal(checkpoint_of("parts", file), checkpoint_of("whole", file)), file


@pytest.mark.slow
def test_an_epoch_killed_at_its_end_is_finished(pictures, monkeypatch) -> None:
    """The validation of a run's last epoch is made up, and a better epoch-best.pth is never lost."""
    config = train_config(pictures, epoch_max=2)
    trained(config, "whole")
    options = ("--config", config, "--name", "parts", "--device", "cpu")
    call(train, *options, "--set", "epoch_max=1")
    shutil.copytree("save/parts", "before")

    class Killed(Exception):
        pass

    def killed(*_) -> None:
        raise Killed

    saved = Run.save
    for moment in ("validate", "epoch-best.pth", "epoch-2.pth"):

        def save(run, name, moment=moment):
            saved(run, name)
            if name == moment:
                raise Killed

        shutil.rmtree("save/parts")
        shutil.copytree("before", "save/parts")
        with monkeypatch.context() as patch:
            patch.setattr(loop, "validate", killed) if moment == "validate" else patch.setattr(Run, "save", save)
            with pytest.raises(Killed):
                call(train, *options, "--resume")
        assert load_checkpoint("save/parts/epoch-last.pth")["step"] == 6, moment
        call(train, *options, "--resume")
        for file in ("epoch-last.pth", "epoch-best.pth", "epoch-2.pth"):
            assert equal(checkpoint_of("parts", file), checkpoint_of("whole", file)), (moment, file)


@pytest.mark.slow
def test_the_best_epoch_stays_the_best(pictures, monkeypatch, capsys) -> None:
    """Through a lower score; the notice of a run begun by three processes."""
    scores = iter([30.0, 20.0, 31.0])
    monkeypatch.setattr(loop, "validate", lambda *_: {"psnr": next(scores)})
    config = train_config(pictures, epoch_max=2)
    assert trained(config, "r")["best"] == 30.0
    assert checkpoint_of("r", "epoch-best.pth")["step"] == 3
    state = load_checkpoint("save/r/epoch-last.pth")
    torch.save({**state, "processes": 3}, "save/r/epoch-last.pth")
    trained(config, "r", "epoch_max=3", options=("--resume",))
    assert checkpoint_of("r", "epoch-best.pth")["step"] == 9
    assert "processes: 3 -> 1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "workers", "precision"), [(4, 2, "bfloat16"), (3, 0, "float32")])
def test_killed_runs_go_on_exactly_from_what_was_saved(pictures, batch_size, workers, precision) -> None:
    """After an epoch, of 3 steps, and within one, of 4, where every second step is saved."""
    changes = {"precision": precision, "ema": 0.9, "val_dataset": None, "epoch_save": None}
    config = train_config(pictures, epoch_max=2, **changes)
    options = ["--config", config, "--device", "cpu", "--set", f"train_dataset.batch_size={batch_size}"]
    call(train, *options, "--name", "whole")
    options += ["--name", "parts", "--save-every", "2", "--set", f"num_workers={workers}"]
    (status,), _ = in_processes(1, train, options, kill_at(3))
    assert status == -signal.SIGKILL
    assert load_checkpoint("save/parts/epoch-last.pth")["step"] == (3 if batch_size == 4 else 2)
    call(train, *options, "--resume")
    assert equal(checkpoint_of("parts"), checkpoint_of("whole"))


@pytest.mark.slow
def test_random_interruptions_change_nothing(capsys) -> None:
    with pytest.raises(SystemExit) as done:
        faults.main(["--count", "3", "--seed", "7", "--events-only"])
    said = capsys.readouterr()
    assert (done.value.code, said.out.count(": 0 differ\n")) == (False, 1), said.out + said.err
