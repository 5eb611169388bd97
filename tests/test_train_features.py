"""train.py with what a paper needs: parts of a model, losses with networks, trackers, curves."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from torchvision.models import vgg19

import train
from models.checkpoints.loading import load_checkpoint
from tests.commands import ROOT, call, mistake
from tests.faults import equal
from tests.several import in_processes, kill_at
from tests.trainings import checkpoint_of, train_config
from training.report import read_rows
from utils.config import load_config, merge

pytestmark = pytest.mark.usefixtures("empty_folder")
CPU = ("--device", "cpu")


def log_of(name: str) -> str:
    return Path(f"save/{name}/log.txt").read_text()


@pytest.mark.slow
def test_a_fine_tuning_with_networks_in_its_loss_goes_on_exactly(pictures) -> None:
    """The encoder from a checkpoint and frozen, the decoder with a perceptual and an adversarial loss; killed."""
    torch.save({f"features.{name}": value for name, value in vgg19().features.state_dict().items()}, "vgg.pth")
    config = train_config(pictures, epoch_max=1, val_dataset=None, multi_step_lr=None)
    call(train, "--config", config, "--name", "first", *CPU)
    loss = {
        "charbonnier": {"weight": 1, "eps": 1e-6},
        "perceptual": {"weight": 0.1, "weights": "vgg.pth", "layers": {"conv2_2": 1}},
        "adversarial": {"weight": 0.01, "width": 4, "start": 2},
    }
    init = {"path": "save/first/epoch-last.pth", "parts": ["encoder"]}
    config = train_config(
        pictures, epoch_max=2, val_dataset=None, epoch_save=None, loss=loss, init=init, freeze=["encoder"],
        optimizer={"name": "muon", "args": {"lr": 0.01}}, multi_step_lr=None, accumulate=3, ema=0.9, seed=3,
        scheduler={"name": "OneCycleLR", "args": {"max_lr": 0.02, "total_steps": 6}, "every": "step"},
    )  # fmt: skip
    where = "train_dataset.wrapper.args"
    sets = (f"{where}.sample_window=true", f"{where}.sample_q=256", f"{where}.inp_size=16", f"{where}.scale_max=2")
    options = ["--config", config, *CPU, *(part for value in sets for part in ("--set", value))]
    call(train, *options, "--name", "whole")
    options += ["--name", "parts", "--save-every", "1"]
    (status,), said = in_processes(1, train, options, kill_at(4))
    assert status == -9, said
    call(train, *options, "--resume")
    assert equal(checkpoint_of("parts"), checkpoint_of("whole"))
    state, first = checkpoint_of("whole"), checkpoint_of("first")["model"]["sd"]
    assert state["loss"]["adversarial"]["steps"] == 6
    for name, value in state["model"]["sd"].items():
        assert torch.equal(value, first[name]) == name.startswith("encoder."), name
    assert "init: " in log_of("whole")
    assert "at random: imnet" in log_of("whole") or "at random: hypernet" in log_of("whole")


def test_curves_have_every_step_once(pictures) -> None:
    config = train_config(pictures, epoch_max=2, val_dataset=None, epoch_save=None)
    options = ["--config", config, *CPU, "--name", "r", "--save-every", "1"]
    (status,), said = in_processes(1, train, options, kill_at(4))
    assert status == -9, said
    call(train, "--config", config, *CPU, "--name", "r", "--resume")
    rows = read_rows(Path("save/r/curves.csv"))
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(row["loss"] > 0 and row["gradient_norm"] > 0 for row in rows)
    history = read_rows(Path("save/r/history.csv"))
    assert history[0]["loss"] == pytest.approx(sum(row["loss"] for row in rows[:3]) / 3, rel=1e-5)
    assert history[0]["time"] == int(history[0]["time"]) > 1.7e9, "to the second"


def test_trackers_follow_a_run(pictures, capsys, monkeypatch) -> None:
    config = train_config(pictures, epoch_max=2, val_dataset=None, epoch_save=None)
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        line = mistake(capsys, train, "--config", config, "--name", "r", "--set", "logger=wandb")
    assert "pip install wandb" in line
    told: list = []
    wandb = SimpleNamespace(
        init=lambda **named: told.append(named), log=lambda values, step: told.append((step, values))
    )
    wandb.__spec__ = SimpleNamespace(name="wandb")
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr("training.setup.check_logger", lambda name: None)
    call(train, "--config", config, *CPU, "--name", "r", "--set", "logger=wandb")
    started, *epochs = told
    assert (started["name"], started["config"]["epoch_max"]) == ("r", 2)
    assert [(step, "loss/train" in values) for step, values in epochs] == [(3, True), (6, True)]


def test_a_checkpoint_that_is_not_there_is_said_and_training_begins(pictures) -> None:
    """As the published configs' last line asks."""
    config = train_config(pictures, epoch_max=1, val_dataset=None, resume="./save/epoch-last.pth")
    call(train, "--config", config, *CPU, "--name", "r")
    assert "resume: ./save/epoch-last.pth is not there, so training begins anew" in log_of("r")
    assert checkpoint_of("r")["step"] == 3


def test_weights_that_fit_are_taken_by_name(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None)
    call(train, "--config", config, "--name", "a", *CPU)
    sets = ("--set", "model.args.hypernet_spec.args.hidden_list=[20]", "--set", "optimizer.args.lr=0", *CPU)
    path = "path: save/a/epoch-last.pth"
    call(train, "--config", config, "--name", "b", *sets, "--set", f"init={{{path}, parts: fitting}}")
    one, other = (checkpoint_of(name)["model"]["sd"] for name in "ab")
    fitting = {name for name in one if one[name].shape == other[name].shape}
    assert 10 < len(fitting) < len(one)
    assert all(torch.equal(one[name], other[name]) for name in fitting)
    assert f"init: {len(fitting)} of {len(one)} parameters from save/a/epoch-last.pth; at random: hypernet" in log_of(
        "b"
    )
    for init, words in (
        ("parts: [hypernet]", "hypernet"),
        ("parts: [encodr]", "did you mean 'encoder'"),
        ("parts: all", "'fitting' or a list"),
        ("part: [encoder]", "did you mean 'parts'"),
    ):
        line = mistake(capsys, train, "--config", config, "--name", "c", *sets, "--set", f"init={{{path}, {init}}}")
        assert words in line
    assert not Path("save/c").exists()


@pytest.mark.parametrize("name", ["lerf-net", "lerf-g", "lerf-l"])
def test_the_networks_of_lerf_train_by_their_configs(pictures, capsys, name) -> None:
    config = load_config(ROOT / f"configs/train-lerf/train_{name}.yaml")
    args = {"root_path": str(pictures), "repeat": 4, "cache": "none"}
    config["train_dataset"]["dataset"]["args"] = args
    config |= {"val_dataset": None, "epoch_max": 1, "num_workers": 0}
    config["train_dataset"]["wrapper"]["args"] |= {"inp_size": 8}
    config["train_dataset"]["batch_size"] = 4
    config["model"]["args"]["nf"] = 8
    Path("c.yaml").write_text(yaml.safe_dump(config))
    call(train, "--config", "c.yaml", *CPU, "--name", "r")
    assert checkpoint_of("r")["step"] == 3
    if name == "lerf-net":
        one = ("--set", "train_dataset.wrapper.args.one_channel=true")
        line = mistake(capsys, train, "--config", "c.yaml", "--name", "x", *one)
        assert "model 'lerf-net' cannot compute pictures of 1 channel(s)" in line
        assert "remove one_channel" in line


def test_a_decoder_that_gives_another_shape_is_told_so(pictures, capsys, monkeypatch) -> None:
    from models.decoders.lmliif import LMLIIF

    sample = LMLIIF.sample
    monkeypatch.setattr(LMLIIF, "sample", lambda self, *given: sample(self, *given)[..., :1])
    line = mistake(capsys, train, "--config", train_config(pictures), "--name", "r", *CPU)
    assert "model 'lmliif' gives values of shape (1, 64, 1); expected that of the targets, (1, 64, 3)" in line
    assert not Path("save").exists()


def test_queries_are_counted_before_a_training(pictures, capsys) -> None:
    config, where = train_config(pictures), "train_dataset.wrapper.args"
    line = mistake(capsys, train, "--config", config, "--name", "r", "--set", f"{where}.sample_q=65")
    assert "sample_q 65 is more than an HR picture or crop of 8x8 has" in line
    window = ("--set", f"{where}={{inp_size: 8, scale_min: 2, scale_max: 3, sample_q: 289, sample_window: true}}")
    assert "a window of 17x17" in mistake(capsys, train, "--config", config, "--name", "r", *window)
    val = ("--set", "val_dataset.wrapper.args.sample_q=65")
    assert "sample_q 65" in mistake(capsys, train, "--config", config, "--name", "r", *val)
    assert not Path("save").exists()


def test_saved_states_of_other_losses_are_refused(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None, epoch_save=None)
    where = "train_dataset.wrapper.args"
    loss = "loss={l1: 1, adversarial: {weight: 0.1, width: 4}}"
    sets = (
        loss,
        f"{where}.sample_window=true",
        f"{where}.sample_q=256",
        f"{where}.inp_size=16",
        f"{where}.scale_max=2",
    )
    options = [part for value in sets for part in ("--set", value)]
    call(train, "--config", config, "--name", "r", *CPU, *options)
    state = load_checkpoint("save/r/epoch-last.pth")
    torch.save({**state, "loss": {"adversarial": {"sd": {}}}}, "save/r/epoch-last.pth")
    more = ("--resume", "--set", "epoch_max=2")
    assert "state of the loss 'adversarial'" in mistake(
        capsys, train, "--config", config, "--name", "r", *options, *more
    )


def test_the_config_of_the_departures_is_the_published_one(shared) -> None:
    text = (ROOT / "docs/departures.md").read_text()
    config = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    ours = merge(load_config(ROOT / config.pop("extends")), config)
    theirs = load_config(shared / "published/lmf/configs/train-original/train_edsr-baseline-x2.yaml")
    for part in ("train_dataset", "val_dataset"):
        assert ours[part]["wrapper"] == theirs[part]["wrapper"]
        assert ours[part]["dataset"]["name"] == theirs[part]["dataset"]["name"]
        one, other = (config[part]["dataset"]["args"] for config in (ours, theirs))
        assert {key: Path(str(value)).name for key, value in one.items() if key != "cache"} == {
            key: Path(str(value)).name for key, value in other.items() if key != "cache"
        }
    assert all(ours[key] == theirs[key] for key in ("model", "optimizer", "multi_step_lr", "epoch_max", "data_norm"))
