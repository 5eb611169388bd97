"""Precisions, compiled models and memory formats of trainings."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import train
from models.checkpoints.loading import load_checkpoint
from tests.commands import call, mistake
from tests.faults import equal
from tests.trainings import checkpoint_of, train_config
from training import setup, speed
from training.state import Run
from utils.errors import InputError

pytestmark = pytest.mark.usefixtures("empty_folder")
CPU, GPU = torch.device("cpu"), SimpleNamespace(type="cuda")


def test_precisions_are_refused_where_they_do_not_train(pictures, capsys, monkeypatch) -> None:
    options = ("--config", train_config(pictures), "--name", "r", "--device", "cpu", "--set", "precision=float16")
    line = mistake(capsys, train, *options)
    assert "float16 trains on CUDA devices only, not on cpu; set precision: bfloat16" in line
    with pytest.raises(InputError, match="did you mean 'float16'"):
        speed.precision_of({"precision": "float61"}, CPU)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(InputError, match="set precision: float16"):
        speed.precision_of({"precision": "bfloat16"}, GPU)
    assert speed.precision_of({"precision": "float16"}, GPU) == torch.float16
    assert speed.make_scaler(torch.float16, CPU).is_enabled()
    assert not speed.make_scaler(torch.bfloat16, CPU).is_enabled()


@pytest.mark.slow
def test_the_scaler_of_float16_goes_on_exactly(pictures, monkeypatch) -> None:
    """On a CPU, where it can be computed though no user gets it; a first scale beyond float16 makes it adapt."""

    def make_scaler(precision, device):
        return torch.amp.GradScaler(device.type, init_scale=2.0**22, growth_interval=3)

    monkeypatch.setattr(speed, "make_scaler", make_scaler)
    monkeypatch.setattr(speed, "precision_of", lambda config, device: torch.float16)
    config = train_config(pictures, epoch_max=3, val_dataset=None, multi_step_lr=None, clip_grad=1.0)
    call(train, "--config", config, "--name", "whole", "--device", "cpu")
    call(train, "--config", config, "--name", "parts", "--device", "cpu", "--set", "epoch_max=2")
    halfway = load_checkpoint("save/parts/epoch-last.pth")["scaler"]
    call(train, "--config", config, "--name", "parts", "--device", "cpu", "--resume")
    assert equal(checkpoint_of("parts"), checkpoint_of("whole"))
    assert checkpoint_of("whole")["scaler"] != halfway
    assert halfway["scale"] < 2.0**22, "steps whose gradients overflowed were left out"
    losses = [float(row.split(",")[3]) for row in Path("save/whole/history.csv").read_text().splitlines()[1:]]
    assert losses[2] < losses[0]


@pytest.mark.slow
def test_the_memory_format_changes_only_how_fast_it_is(pictures, monkeypatch) -> None:
    formats = []

    def accelerate(made: Run) -> None:
        weight = next(p for p in made.upscaler.model.parameters() if p.dim() == 4 and p.shape[1] > 1 < p.shape[2])
        formats.append(weight.is_contiguous())

    monkeypatch.setattr(setup, "accelerate", accelerate)
    config = train_config(pictures, epoch_max=1, val_dataset=None)
    for name in ("true", "false"):
        call(train, "--config", config, "--name", name, "--device", "cpu", "--set", f"channels_last={name}")
    assert formats == [False, True]


class Broken(Exception):
    """What a compiler raises."""


def test_without_a_compiler_training_goes_on_with_a_notice(pictures, monkeypatch, capsys) -> None:
    def broken(model):
        network = torch.nn.Sequential()
        network.forward = lambda *_: (_ for _ in ()).throw(Broken("no C++ compiler found\nand more lines"))
        return network

    monkeypatch.setattr(torch, "compile", broken)
    config = train_config(pictures, epoch_max=1, val_dataset=None)
    call(train, "--config", config, "--name", "plain", "--device", "cpu")
    call(train, "--config", config, "--name", "r", "--device", "cpu", "--set", "compile=true")
    said = capsys.readouterr().err
    assert "compile: not possible here, training goes on without (Broken: 'no C++ compiler found')" in said
    assert equal(checkpoint_of("r"), checkpoint_of("plain"))


def test_a_trial_leaves_no_trace() -> None:
    """Neither in gradients nor in what a layer has counted."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with speed.on_trial(model):
        assert model.training
        speed.backward(model, [torch.rand(4, 3)], torch.float32)
        assert model[0].weight.grad is not None
        assert model[1].num_batches_tracked == 1
    assert equal(dict(model.state_dict()), before)
    assert model[0].weight.grad is None
    assert not model.training


@pytest.mark.thorough
def test_a_compiled_model_trains_as_the_model(pictures) -> None:
    """By what reads the model for the compiler, without the stages that take half a minute."""
    config = train_config(pictures, epoch_max=1, val_dataset=None)
    compile_model = torch.compile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda model: compile_model(model, backend="eager"))
        call(train, "--config", config, "--name", "r", "--device", "cpu", "--set", "compile=true")
    call(train, "--config", config, "--name", "plain", "--device", "cpu")
    one, other = (checkpoint_of(name)["model"]["sd"] for name in ("r", "plain"))
    assert one.keys() == other.keys()
    assert all(torch.allclose(one[key], other[key], atol=1e-3) for key in one)
