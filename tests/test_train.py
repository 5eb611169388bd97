"""train.py as users call it: runs, resumes, and one line for every mistake."""

import multiprocessing
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn.functional import dropout

import train
from evaluation.measure import validate
from evaluation.metrics import find_protocol
from models.checkpoints import loading as checkpoints
from models.checkpoints.loading import load_checkpoint, load_upscaler
from models.upscaler import Upscaler
from tests.commands import ROOT, call, failure, mistake
from tests.conftest import SMALL_LMLIIF
from tests.faults import equal
from tests.several import in_processes, kill_at
from training import loop
from training.run import Run, prepare_data
from utils.errors import InputError

pytestmark = pytest.mark.usefixtures("empty_folder")


def train_config(pictures: Path, **changes) -> Path:
    dataset = {"name": "image-folder", "args": {"root_path": str(pictures), "repeat": 4, "cache": "in_memory"}}
    wrapper = {
        "name": "sr-implicit-downsampled",
        "args": {"inp_size": 8, "scale_max": 4, "sample_q": 64, "augment": True},
    }
    config = {
        "train_dataset": {"dataset": dataset, "wrapper": wrapper, "batch_size": 4},
        "val_dataset": {"dataset": dataset, "wrapper": wrapper, "batch_size": 4},
        "model": SMALL_LMLIIF,
        "optimizer": {"name": "adam", "args": {"lr": 1e-3}},
        "epoch_max": 4,
        "multi_step_lr": {"milestones": [2], "gamma": 0.5},
        "epoch_save": 2,
        "num_workers": 0,
        **changes,
    }
    path = Path("config.yaml")
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.slow
def test_training_learns_saves_and_resumes(pictures, tmp_path) -> None:
    config = train_config(pictures)
    call(train, "--config", config, "--name", "whole", "--device", "cpu")
    run = tmp_path / "save/whole"
    assert {"config.yaml", "log.txt", "tensorboard", "epoch-last.pth", "epoch-best.pth", "epoch-2.pth"} <= {
        p.name for p in run.iterdir()
    }
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", (run / "log.txt").read_text())]
    assert len(losses) == 4
    assert losses[-1] < losses[0]

    call(train, "--config", config, "--name", "parts", "--device", "cpu", "--set", "epoch_max=2")
    call(train, "--config", config, "--name", "parts", "--device", "cpu", "--resume")
    whole, parts = (load_checkpoint(f"save/{name}/epoch-last.pth") for name in ("whole", "parts"))
    assert (parts["step"], parts["epoch"], parts["best"]) == (whole["step"], whole["epoch"], whole["best"])
    for name, value in whole["model"]["sd"].items():
        assert torch.equal(parts["model"]["sd"][name], value)


@pytest.mark.slow
def test_training_stops_in_time_and_starts_from_weights(pictures, capsys) -> None:
    config = train_config(pictures, epoch_val=1)
    call(train, "--config", config, "--name", "short", "--max-minutes", "1e-9")  # one step, then it saves
    state = load_checkpoint("save/short/epoch-last.pth")
    assert state["step"] == 1
    call(train, "--config", config, "--name", "short", "--resume")
    assert load_checkpoint("save/short/epoch-last.pth")["step"] == 12
    call(
        train,
        "--config",
        config,
        "--name",
        "tuned",
        "--set",
        "init=save/short/epoch-last.pth",
        "--set",
        "optimizer.args.lr=0",
    )
    for name, value in load_checkpoint("save/short/epoch-last.pth")["model"]["sd"].items():
        assert torch.equal(load_checkpoint("save/tuned/epoch-last.pth")["model"]["sd"][name], value)


@pytest.mark.slow
def test_training_does_not_mix_runs(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1)
    assert "start without --resume" in mistake(capsys, train, "--config", config, "--name", "r", "--resume")
    call(train, "--config", config, "--name", "r")
    before = Path("save/r/epoch-last.pth").read_bytes()
    assert "--overwrite" in mistake(capsys, train, "--config", config, "--name", "r")
    other = ("--set", "model.name=liif", "--set", "model.args.hypernet_spec=null")
    mistake(capsys, train, "--config", config, "--name", "r", "--resume", *other)
    assert Path("save/r/epoch-last.pth").read_bytes() == before
    call(train, "--config", config, "--name", "r", "--overwrite", "--set", "seed=5")
    assert Path("save/r/epoch-last.pth").read_bytes() != before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_dataset.dataset.args.root_path": "load/DIV2K"}, ["load/DIV2K"]),
        ({"epoch_mx": 3}, ["epoch_mx", "'epoch_max'"]),
        ({"model.name": "lmlif"}, ["lmlif", "'lmliif'"]),
        ({"train_dataset.wrapper.name": "sr-implict-downsampled"}, ["sr-implicit-downsampled"]),
        ({"optimizer.name": "adm"}, ["'adam'"]),
        ({"train_dataset.batch_size": 500}, ["batch"]),
        ({"eval_type": "div2k-4"}, ["div2k", "whole pictures"]),
        ({"init": "nothere.pth"}, ["nothere.pth"]),
        ({"epoch_max": "abc"}, ["epoch_max", "whole number"]),
        ({"train_dataset.batch_size": "'4'"}, ["batch_size", "whole number"]),
        ({"multi_step_lr.milestones": 2}, ["milestones", "list"]),
        ({"cosine_lr": "true"}, ["cosine_lr", "mapping"]),
        ({"data_norm.inp.sub": 0.5}, ["data_norm", "sub", "list"]),
        ({"model.arg.lr_skip": "false"}, ["arg", "'args'"]),
        ({"model.name": "edsr-baseline", "model.args": "{n_feats: 8}"}, ["part of a model"]),
        ({"model.args.encoder_spec.args.n_feats": "many"}, ["edsr-baseline", "n_feats", "whole number"]),
        ({"model.args.encoder_spec.args.no_upsampling": "false"}, ["no_upsampling: true"]),
        ({"train_dataset.wrapper.args.inp_size": 200}, ["inp_size", ".png"]),
        ({"train_dataset.wrapper.args.sample_q": "null"}, ["sample_q"]),
        ({"val_dataset.wrapper.args.inp_size": 300}, ["inp_size", ".png"]),
        ({"seed": "x"}, ["seed"]),
        ({"accumulate": 5}, ["accumulate", "batch_size"]),
        ({"clip_grad": 0}, ["clip_grad", "above 0"]),
        ({"ema": 1.5}, ["ema", "between 0 and 1"]),
        ({"loss": "{l1: 1, charbonier: 0.1}"}, ["charbonier", "'charbonnier'"]),
        ({"loss": "{l1: -1}"}, ["loss.l1", "above 0"]),
    ],
)
def test_mistakes_show_before_anything_is_written(pictures, capsys, changes, words) -> None:
    config = train_config(pictures, epoch_max=1)
    sets = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    line = mistake(capsys, train, "--config", config, "--name", "r", *sets)
    assert all(word in line for word in words)
    assert "Traceback" not in line
    assert not Path("save").exists()


@pytest.mark.slow
def test_a_mistake_in_a_data_worker_is_one_line(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, multi_step_lr=None, num_workers=1)
    for cache in ("none", "bin"):
        (pictures / "c.png").write_text("broken" if cache == "bin" else "broken, too")
        change = f"train_dataset.dataset.args.cache={cache}"
        last = failure(capsys, train, "--config", config, "--name", cache, "--device", "cpu", "--set", change)[-1]
        assert "c.png" in last
        assert "Traceback" not in last


@pytest.mark.parametrize(
    "options", [("--name", "."), ("--name", ".."), ("--name", "a/b"), ("--name", "a", "--tag", "/x")]
)
def test_names_of_runs_are_single_folders(pictures, capsys, options) -> None:
    assert "is no name for a run" in mistake(capsys, train, "--config", train_config(pictures), *options)


def test_folders_without_a_run_are_left_alone(pictures, capsys) -> None:
    precious = Path("save/precious/file.txt")
    precious.parent.mkdir(parents=True)
    precious.write_text("keep me")
    for option in ((), ("--overwrite",)):
        line = mistake(capsys, train, "--config", train_config(pictures), "--name", "precious", *option)
        assert "left alone" in line
    assert [path.read_text() for path in precious.parent.iterdir()] == ["keep me"]


@pytest.mark.slow
@pytest.mark.parametrize("foreign", ["thesis.tex", "tensorboard/thesis.tex", "epoch-final.pth", "notes/log.txt"])
def test_overwrite_refuses_folders_with_other_files(pictures, capsys, foreign) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None)
    call(train, "--config", config, "--name", "r")
    path = Path("save/r", foreign)
    path.parent.mkdir(exist_ok=True)
    path.write_text("keep me")
    before = sorted(Path("save/r").rglob("*"))
    named = foreign.split("/")[0]
    assert f"save/r/{named} is no file of a run" in mistake(
        capsys, train, "--config", config, "--name", "r", "--overwrite"
    )
    assert sorted(Path("save/r").rglob("*")) == before
    call(train, "--config", config, "--name", "r", "--resume", "--set", "epoch_max=2")  # it deletes nothing


@pytest.mark.slow
def test_overwrite_of_a_linked_folder_empties_the_run_in_it(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None)
    Path("elsewhere").mkdir()
    Path("save").mkdir()
    Path("save/r").symlink_to("../elsewhere")
    call(train, "--config", config, "--name", "r", "--set", "epoch_save=1")
    call(train, "--config", config, "--name", "r", "--overwrite", "--set", "epoch_save=null")
    assert Path("save/r").is_symlink()
    assert {path.name for path in Path("elsewhere").iterdir()} == {
        "config.yaml",
        "log.txt",
        "tensorboard",
        "epoch-last.pth",
        "epoch-last.safetensors",
        "history.csv",
        "plot.png",
    }
    Path("save/lost").symlink_to("nowhere")
    assert "save/lost" in mistake(capsys, train, "--config", config, "--name", "lost")


@pytest.mark.slow
def test_a_mistake_leaves_the_run_that_it_was_to_overwrite(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None)
    call(train, "--config", config, "--name", "r")
    mistake(capsys, train, "--config", config, "--name", "r", "--overwrite", "--set", "optimizer.name=adm")
    assert Path("save/r/epoch-last.pth").exists()


CHANGES = [  # as --set, and the settings that the line names
    ("seed=5", ["seed"]),
    ("loss=mse", ["loss"]),
    ("precision=bfloat16", ["precision"]),
    ("multi_step_lr={milestones: [1], gamma: 0.5}", ["multi_step_lr.milestones", "multi_step_lr.gamma"]),
    ("train_dataset.wrapper.args.inp_size=9", ["train_dataset.wrapper.args.inp_size"]),
    ("train_dataset.wrapper.args.sample_q=32", ["train_dataset.wrapper.args.sample_q"]),
    ("train_dataset.wrapper.args.scale_max=3", ["train_dataset.wrapper.args.scale_max"]),
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
    assert "--resume" in mistake(capsys, train, "--config", config, "--name", "new", "--allow-changes", "seed")
    assert {path: path.read_bytes() for path in Path("save/r").iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_resume_takes_changes_on_record(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, multi_step_lr=None, val_dataset=None)
    call(train, "--config", config, "--name", "r", "--device", "cpu")
    resume = ("--config", config, "--name", "r", "--resume", "--set", "epoch_max=2")
    changes = ("--set", "seed=5", "--set", "optimizer.args={lr: 0, weight_decay: 0.1}")
    line = mistake(capsys, train, *resume, *changes, "--allow-changes", "seed", "optimizer.args.l")
    assert "seed" not in line
    before = load_checkpoint("save/r/epoch-last.pth")
    call(train, *resume, *changes, "--allow-changes", "seed", "optimizer.args")
    log = Path("save/r/log.txt").read_text()
    assert "seed: None -> 5" in log
    assert "optimizer.args.lr: 0.001 -> 0" in log
    former, now = (
        yaml.safe_load(Path("save/r", name).read_text()) for name in ("config-until-step-3.yaml", "config.yaml")
    )
    assert (former["optimizer"]["args"], former.get("seed")) == ({"lr": 0.001}, None)
    assert (now["optimizer"]["args"], now["seed"]) == ({"lr": 0, "weight_decay": 0.1}, 5)
    state = load_checkpoint("save/r/epoch-last.pth")
    assert state["optimizer"]["sd"]["param_groups"][0]["weight_decay"] == 0.1
    for name, value in before["model"]["sd"].items():
        assert torch.equal(state["model"]["sd"][name], value)  # at a learning rate of 0
    call(train, *resume, *changes, "--set", "epoch_max=3")  # they are the run's own now


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


def checkpoint_of(name: str, file: str = "epoch-last.pth") -> dict:
    """What a run has saved, but for the settings that may differ."""
    state = load_checkpoint(f"save/{name}/{file}")
    state.pop("config")
    return state


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.usefixtures("noisy")
@pytest.mark.parametrize(("number", "word"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
def test_runs_that_a_signal_stops_go_on_exactly(pictures, monkeypatch, capsys, workers, number, word) -> None:
    """In the middle of an epoch, and without workers in the uninterrupted run."""
    config = train_config(pictures)
    call(train, "--config", config, "--name", "whole", "--device", "cpu")

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
    assert (
        f"step 5: stopped by {word}; save/parts/epoch-last.pth holds step 5, from which --resume"
        in capsys.readouterr().err
    )
    assert load_checkpoint("save/parts/epoch-last.pth")["step"] == 5
    call(train, *options, "--resume")
    for file in ("epoch-last.pth", "epoch-best.pth", "epoch-2.pth", "epoch-4.pth"):
        assert equal(checkpoint_of("parts", file), checkpoint_of("whole", file)), file


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["validate", "epoch-best.pth", "epoch-4.pth"])
def test_an_epoch_killed_at_its_end_is_finished(pictures, monkeypatch, moment) -> None:
    """The validation of a run's last epoch is made up, and a better epoch-best.pth is never lost."""
    config = train_config(pictures, epoch_max=4)
    call(train, "--config", config, "--name", "whole", "--device", "cpu")

    class Killed(Exception):
        pass

    def killed(*_) -> None:
        raise Killed

    def save(run, name):
        saved(run, name)
        if name == moment:
            raise Killed

    saved = Run.save
    options = ("--config", config, "--name", "parts", "--device", "cpu")
    call(train, *options, "--set", "epoch_max=3")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "validate", killed) if moment == "validate" else patch.setattr(Run, "save", save)
        with pytest.raises(Killed):
            call(train, *options, "--resume")
    assert load_checkpoint("save/parts/epoch-last.pth")["step"] == 12
    call(train, *options, "--resume")
    for file in ("epoch-last.pth", "epoch-best.pth", "epoch-2.pth", "epoch-4.pth"):
        assert equal(checkpoint_of("parts", file), checkpoint_of("whole", file)), file


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch_size", "workers", "precision"),
    [(4, 0, "float32"), (4, 2, "bfloat16"), (3, 2, "float32"), (3, 0, "bfloat16")],
)
def test_six_steps_are_three_then_kill_and_three_more(pictures, batch_size, workers, precision) -> None:
    """At the end of an epoch, of 3 steps, and within one, of 4."""
    changes = {"precision": precision, "ema": 0.9, "val_dataset": None, "epoch_save": None}
    config = train_config(pictures, epoch_max=2, **changes)
    options = ["--config", config, "--device", "cpu", "--set", f"train_dataset.batch_size={batch_size}"]
    call(train, *options, "--name", "whole")
    options += ["--name", "parts", "--save-every", "1", "--set", f"num_workers={workers}"]
    (status,), _ = in_processes(1, train, options, kill_at(3))
    assert status == -signal.SIGKILL
    assert load_checkpoint("save/parts/epoch-last.pth")["step"] == 3
    call(train, *options, "--resume")
    assert equal(checkpoint_of("parts"), checkpoint_of("whole"))


@pytest.mark.slow
def test_random_interruptions_change_nothing() -> None:
    command = [sys.executable, "-m", "tests.faults", "--count", "5", "--seed", "7", "--events-only"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.count(": 0 differ\n")) == (0, 1), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("noisy")
def test_data_workers_change_nothing(pictures) -> None:
    config = train_config(pictures, epoch_max=2)
    for workers in (0, 2):
        call(train, "--config", config, "--name", f"w{workers}", "--device", "cpu", "--set", f"num_workers={workers}")
    assert equal(checkpoint_of("w2"), checkpoint_of("w0"))


@pytest.mark.slow
def test_averaged_weights_are_released_and_resumed_exactly(pictures) -> None:
    config = train_config(pictures, epoch_max=2, ema=0.9, clip_grad=0.1, accumulate=3)
    call(train, "--config", config, "--name", "whole", "--device", "cpu")
    call(train, "--config", config, "--name", "parts", "--device", "cpu", "--set", "epoch_max=1")
    call(train, "--config", config, "--name", "parts", "--device", "cpu", "--resume")
    state = checkpoint_of("parts")
    assert equal(state, checkpoint_of("whole"))
    differing = [name for name, value in state["trained"].items() if not torch.equal(value, state["model"]["sd"][name])]
    assert len(differing) > 10
    upscaler = Upscaler(checkpoints.make_continuous(state["model"], load_sd=True).eval())
    samples = prepare_data(yaml.safe_load(config.read_text()), "config")[1]
    *_, logged = re.findall(r"val PSNR ([\d.]+)", Path("save/parts/log.txt").read_text())
    assert validate(upscaler, samples, find_protocol("rgb"), 4) == pytest.approx(float(logged), abs=1e-3)


@pytest.mark.slow
def test_a_batch_in_parts_trains_as_a_whole_one(pictures) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None, optimizer={"name": "sgd", "args": {"lr": 0.1}})
    for parts in (1, 3):  # 3 of the 4 items are 2, 1 and 1
        call(train, "--config", config, "--name", f"p{parts}", "--device", "cpu", "--set", f"accumulate={parts}")
    one, three = (checkpoint_of(name)["model"]["sd"] for name in ("p1", "p3"))
    for name, value in one.items():
        assert torch.allclose(three[name], value, atol=1e-5), name


def test_metrics_beside_psnr_are_in_the_log(pictures) -> None:
    config = train_config(pictures, epoch_max=1, val_metrics=["ssim"])
    whole = ("--set", "val_dataset.wrapper.args={inp_size: null, sample_q: null, scale_min: 2, scale_max: null}")
    call(train, "--config", config, "--name", "s", "--device", "cpu", *whole, "--set", "val_dataset.batch_size=1")
    (score,) = re.findall(r"val PSNR [\d.]+ dB, SSIM ([\d.]+)", Path("save/s/log.txt").read_text())
    assert 0 < float(score) < 1


def test_losses_of_windows_train(pictures) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None, loss={"l1": 1, "fft": 0.1, "ssim": 0.1})
    where = "train_dataset.wrapper.args"
    options = ("--set", f"{where}.sample_window=true", f"--set={where}.sample_q=121", f"--set={where}.inp_size=11")
    call(train, "--config", config, "--name", "windows", "--device", "cpu", *options)
    assert checkpoint_of("windows")["step"] == 3


@pytest.mark.slow
def test_clipped_gradients_move_no_further(pictures) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None, optimizer={"name": "sgd", "args": {"lr": 1}})
    call(train, "--config", config, "--name", "r", "--device", "cpu", "--set", "clip_grad=1.0e-9")
    call(train, "--config", config, "--name", "still", "--device", "cpu", "--set", "optimizer.args.lr=0")
    moved, still = (checkpoint_of(name)["model"]["sd"] for name in ("r", "still"))
    assert all(torch.allclose(moved[name], value, atol=1e-7) for name, value in still.items())


@pytest.mark.slow
def test_steps_are_saved_between_epochs(pictures, monkeypatch) -> None:
    def step(run, batch):
        if run.step == 5:
            raise KeyboardInterrupt
        return train_step(run, batch)

    train_step = loop.train_step
    monkeypatch.setattr(loop, "train_step", step)
    config = train_config(pictures)
    with pytest.raises(KeyboardInterrupt):
        call(train, "--config", config, "--name", "r", "--device", "cpu", "--save-every", "2")
    assert load_checkpoint("save/r/epoch-last.pth")["step"] == 4


@pytest.mark.slow
def test_training_stops_at_the_first_number_that_is_not_finite(pictures, monkeypatch, capsys) -> None:
    config = train_config(pictures, multi_step_lr=None, val_dataset=None)
    call(train, "--config", config, "--name", "r", "--device", "cpu", "--set", "epoch_max=1")
    before = Path("save/r/epoch-last.pth").read_bytes()
    options = ("--config", config, "--name", "r", "--resume", "--allow-changes", "optimizer", "--device", "cpu")
    with pytest.raises(SystemExit) as ended:
        call(train, *options, "--set", "optimizer={name: sgd, args: {lr: 1.0e+14}}")
    assert ended.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "nan" in line or "inf" in line]
    assert "save/r/epoch-last.pth holds step 3" in line
    assert Path("save/r/epoch-last.pth").read_bytes() == before


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line(pictures, capsys) -> None:
    """A limit on the size of files, which Python meets as a full disk, between the config's size and a checkpoint's."""
    config = train_config(pictures, val_dataset=None)
    call(train, "--config", config, "--name", "r", "--set", "epoch_max=1")
    before = Path("save/r/epoch-last.pth").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        line = failure(capsys, train, "--config", config, "--name", "r", "--resume")[-1]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot write save/r/epoch-last.pth: File too large" in line
    assert Path("save/r/epoch-last.pth").read_bytes() == before
    assert not [path for path in Path("save/r").iterdir() if path.name.startswith(".")]
    call(train, "--config", config, "--name", "r", "--resume")


@pytest.mark.slow
def test_folders_of_runs_that_were_killed_early_are_used_again(pictures) -> None:
    config = train_config(pictures, epoch_max=1)
    folder = Path("save/r")
    (folder / "tensorboard").mkdir(parents=True)
    for name in ("config.yaml", ".lock", ".config.yaml.0123abcd.tmp", ".epoch-last.pth.a_b3d5gh"):
        (folder / name).touch()
    call(train, "--config", config, "--name", "r")
    assert not list(folder.glob(".config.yaml*"))
    assert load_checkpoint(folder / "epoch-last.pth")["step"] == 3


HOLDER = """
import sys
from pathlib import Path
from utils.locks import locked
with locked(Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("options", [(), ("--overwrite",), ("--resume",)])
def test_a_run_in_use_is_left_alone(pictures, capsys, options) -> None:
    Path("save/r").mkdir(parents=True)
    if options:
        Path("save/r/epoch-last.pth").write_text("kept")
    command = [sys.executable, "-c", HOLDER, str(Path("save/r").resolve())]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        holder.stdout.readline()
        line = mistake(capsys, train, "--config", train_config(pictures), "--name", "r", *options)
        assert f"save/r is in use by process {holder.pid}" in line
        holder.communicate()
    assert {path.name for path in Path("save/r").iterdir()} == ({"epoch-last.pth"} if options else set())


@pytest.mark.slow
def test_runs_of_the_published_programs_can_be_continued(pictures) -> None:
    config = train_config(pictures, epoch_max=1, multi_step_lr=None, val_dataset=None)
    call(train, "--config", config, "--name", "ours", "--device", "cpu")
    state = load_checkpoint("save/ours/epoch-last.pth")
    torch.save({key: state[key] for key in ("model", "optimizer", "epoch")}, "theirs.pth")
    call(train, "--config", config, "--name", "more", "--set", "resume=theirs.pth", "--set", "epoch_max=2")
    assert load_checkpoint("save/more/epoch-last.pth")["step"] == 2 * state["step"]


def test_published_training_config_names_the_data_it_wants(capsys) -> None:
    config = ROOT / "configs/train-lmf/train_edsr-baseline-lmliif.yaml"
    assert "load/DIV2K/DIV2K_train_HR" in mistake(capsys, train, "--config", config, "--name", "edsr-b_lm-liif")
    assert not Path("save").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("optimizer.name=[a]", "unknown optimizer ['a']"),
        ("optimizer={name: sgd}", "optimizer 'sgd' needs the argument 'lr'"),
        ("optimizer.args.lr=.inf", "lr is inf; expected a number from 0"),
        ("optimizer.args.betas=[0.9, 2]", "betas is [0.9, 2]"),
        ("optimizer.args.beta=0.9", "no argument 'beta'; did you mean 'betas'?"),
        ("cosine_lr={final_factor: -3}", "final_factor is -3; expected a number from 0 to 1"),
        ("multi_step_lr={milestones: [1.5]}", "milestones is [1.5]"),
        ("multi_step_lr={milestones: [1], gamma: .nan}", "gamma is nan"),
        ("epoch_max=010", "epoch_max is '010'; expected a whole number"),
        ("epoch_max=1:30", "epoch_max is '1:30'; expected a whole number"),
        ("num_workers=1000000", "num_workers is 1000000"),
        ("num_workers=atuo", "num_workers is 'atuo'; expected auto or a whole number"),
        ("loss={l1: 1, fft: 0.1}", "loss 'fft' compares neighbouring pixels"),
        ("data_norm={inp: null}", "data_norm: the key 'inp' is missing"),
        ("model.args.lr_skip='\"false\"'", "lr_skip is"),
        ("model.args.encoder_spec.args.n_resblocks=1000000000", "more than"),
        ("train_dataset.dataset.args.repeat=1180591620717411303424", "repeat is 1180591620717411303424"),
    ],
)
def test_settings_that_are_not_what_was_meant(pictures, capsys, change, words) -> None:
    line = mistake(capsys, train, "--config", train_config(pictures), "--name", "x", "--set", change)
    assert words in line
    assert len(line) < 700
    assert not Path("save/x").exists()


def test_the_scales_of_the_training_data_stay_with_the_weights(pictures) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None)
    wrapper = "train_dataset.wrapper.args.scale_max"
    call(
        train,
        "--config",
        config,
        "--name",
        "x6",
        "--set",
        f"{wrapper}=6",
        "--set",
        "train_dataset.wrapper.args.inp_size=8",
    )
    assert load_upscaler("save/x6/epoch-last.pth").model.trained_scales == (1, 6)
    state = load_checkpoint("save/x6/epoch-last.pth")
    torch.save({"model": state["model"]}, "without.pth")
    assert load_upscaler("without.pth").model.trained_scales == (1, 4)
    torch.save({"model": state["model"], "trained_scales": [4, 1]}, "wrong.pth")
    with pytest.raises(InputError, match="trained_scales"):
        load_upscaler("wrong.pth")
