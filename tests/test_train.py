"""train.py as users call it: what a training learns and what its settings do."""

import re
from pathlib import Path

import pytest
import torch
import yaml

import train
from evaluation.protocols import find_protocol
from evaluation.validation import validate
from models.checkpoints import loading as checkpoints
from models.checkpoints.loading import load_checkpoint, load_upscaler
from models.upscaler import Upscaler
from tests.commands import call
from tests.faults import equal
from tests.trainings import checkpoint_of, train_config
from training.setup import prepare_data
from utils.errors import InputError

pytestmark = pytest.mark.usefixtures("empty_folder")


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
    assert validate(upscaler, samples, find_protocol("rgb"), 4)["psnr"] == pytest.approx(float(logged), abs=1e-3)


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
def test_runs_of_the_published_programs_can_be_continued(pictures) -> None:
    config = train_config(pictures, epoch_max=1, multi_step_lr=None, val_dataset=None)
    call(train, "--config", config, "--name", "ours", "--device", "cpu")
    state = load_checkpoint("save/ours/epoch-last.pth")
    torch.save({key: state[key] for key in ("model", "optimizer", "epoch")}, "theirs.pth")
    call(train, "--config", config, "--name", "more", "--set", "resume=theirs.pth", "--set", "epoch_max=2")
    assert load_checkpoint("save/more/epoch-last.pth")["step"] == 2 * state["step"]


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
