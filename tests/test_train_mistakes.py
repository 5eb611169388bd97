"""One line for every mistake in a training's settings or data, before anything is written."""

from pathlib import Path

import pytest

import train
from tests.commands import ROOT, failure, mistake
from tests.trainings import train_config

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_dataset.dataset.args.root_path": "load/DIV2K"}, ["load/DIV2K"]),
        ({"epoch_mx": 3}, ["epoch_mx", "'epoch_max'"]),
        ({"model.name": "lmlif"}, ["lmlif", "'lmliif'"]),
        ({"optimizer.name": "adm"}, ["'adam'"]),
        ({"train_dataset.batch_size": 500}, ["batch"]),
        ({"eval_type": "div2k-4"}, ["div2k", "whole pictures"]),
        ({"init": "nothere.pth"}, ["nothere.pth"]),
        ({"train_dataset.batch_size": "'4'"}, ["batch_size", "whole number"]),
        ({"cosine_lr": "true"}, ["cosine_lr", "mapping"]),
        ({"model.arg.lr_skip": "false"}, ["arg", "'args'"]),
        ({"model.name": "edsr-baseline", "model.args": "{n_feats: 8}"}, ["part of a model"]),
        ({"model.args.encoder_spec.args.n_feats": "many"}, ["edsr-baseline", "n_feats", "whole number"]),
        ({"model.args.encoder_spec.args.no_upsampling": "false"}, ["no_upsampling: true"]),
        ({"train_dataset.wrapper.args.inp_size": 200}, ["inp_size", ".png"]),
        ({"val_dataset.wrapper.args.inp_size": 300}, ["inp_size", ".png"]),
        ({"seed": "x"}, ["seed"]),
        ({"accumulate": 5}, ["accumulate", "batch_size"]),
        ({"clip_grad": 0}, ["clip_grad", "above 0"]),
        ({"ema": 1.5}, ["ema", "between 0 and 1"]),
        ({"loss": "{l1: 1, charbonier: 0.1}"}, ["charbonier", "'charbonnier'"]),
        ({"loss": "{l1: -1}"}, ["loss.l1", "above 0"]),
        (
            {
                "train_dataset.wrapper.args": "{inp_size: 8, scale_min: 2, scale_max: 3, sample_q: 289, "
                "sample_window: true}"
            },
            ["sample_q 289, a window of 17x17, is more than an HR picture or crop of"],
        ),
    ],
)
def test_mistakes_show_before_anything_is_written(pictures, capsys, changes, words) -> None:
    config = train_config(pictures, epoch_max=1)
    sets = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    line = mistake(capsys, train, "--config", config, "--name", "r", *sets)
    assert all(word in line for word in words)
    assert "Traceback" not in line
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
        ("num_workers=atuo", "num_workers is 'atuo'; expected auto or a whole number"),
        ("loss={l1: 1, fft: 0.1}", "loss 'fft' compares neighbouring pixels"),
        ("data_norm={inp: null}", "data_norm.inp is null"),
        ("model.args.lr_skip='\"false\"'", "lr_skip is"),
        ("train_dataset.dataset.args.repeat=1180591620717411303424", "repeat is 1180591620717411303424"),
    ],
)
def test_settings_that_are_not_what_was_meant(pictures, capsys, change, words) -> None:
    line = mistake(capsys, train, "--config", train_config(pictures), "--name", "x", "--set", change)
    assert words in line
    assert len(line) < 700
    assert not Path("save/x").exists()


@pytest.mark.slow
def test_a_mistake_in_a_data_worker_is_one_line(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, multi_step_lr=None, num_workers=1)
    for cache in ("none", "bin"):
        (pictures / "c.png").write_text("broken" if cache == "bin" else "broken, too")
        change = f"train_dataset.dataset.args.cache={cache}"
        last = failure(capsys, train, "--config", config, "--name", cache, "--device", "cpu", "--set", change)[-1]
        assert "c.png" in last
        assert "Traceback" not in last


def test_published_training_config_names_the_data_it_wants(capsys) -> None:
    config = ROOT / "configs/train-lmf/train_edsr-baseline-lmliif.yaml"
    assert "load/DIV2K/DIV2K_train_HR" in mistake(capsys, train, "--config", config, "--name", "edsr-b_lm-liif")
    assert not Path("save").exists()
