"""train.py as users call it: runs, resumes, and one line for every mistake."""

import re
from pathlib import Path

import pytest
import torch
import yaml

import train
from models.checkpoints.loading import load_checkpoint
from tests.commands import ROOT, call, failure, mistake
from tests.conftest import SMALL_LMLIIF

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
        ({"model.args.encoder_spec.args.n_feats": "many"}, ["edsr-baseline", "arguments"]),
        ({"model.args.encoder_spec.args.no_upsampling": "false"}, ["no_upsampling: true"]),
        ({"train_dataset.wrapper.args.inp_size": 200}, ["inp_size", ".png"]),
        ({"train_dataset.wrapper.args.sample_q": "null"}, ["sample_q"]),
        ({"val_dataset.wrapper.args.inp_size": 300}, ["inp_size", ".png"]),
        ({"seed": "x"}, ["seed"]),
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


def test_overwrite_deletes_nothing_but_runs(pictures, capsys) -> None:
    precious = Path("save/precious/file.txt")
    precious.parent.mkdir(parents=True)
    precious.write_text("keep me")
    for option in ((), ("--overwrite",)):
        line = mistake(capsys, train, "--config", train_config(pictures), "--name", "precious", *option)
        assert "left alone" in line
    assert precious.read_text() == "keep me"


@pytest.mark.slow
def test_resume_refuses_other_settings(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, multi_step_lr=None, val_dataset=None)
    call(train, "--config", config, "--name", "r", "--device", "cpu")
    changes = {
        "model.args.local_ensemble=false": "model.args",
        "data_norm={inp: {sub: [0], div: [1]}}": "data_norm",
        "train_dataset.batch_size=2": "steps",
        "optimizer={name: sgd, args: {lr: 0.1}}": "optimizer",
        "epoch_max=1": "epoch_max",
    }
    for change, word in changes.items():
        options = ("--config", config, "--name", "r", "--resume", "--set", "epoch_max=2", "--set", change)
        assert word in mistake(capsys, train, *options)


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
