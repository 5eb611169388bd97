"""train.py as users call it: what a training learns, what its settings do, and what a paper needs."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

import train
from evaluation.protocols import find_protocol
from evaluation.validation import validate
from models.checkpoints import loading as checkpoints
from models.checkpoints.loading import load_upscaler
from models.decoders.lmliif import LMLIIF
from models.upscaler import Upscaler
from tests.commands import ROOT, call, mistake
from tests.faults import equal
from tests.several import in_processes, kill_at
from tests.training.losses.narrow import vgg19
from tests.trainings import checkpoint_of, train_config, trained
from training.report import read_rows
from training.setup import prepare_data
from utils.config import load_config, merge
from utils.errors import InputError

pytestmark = pytest.mark.usefixtures("empty_folder")
WRAPPER = "train_dataset.wrapper.args"


def log_of(name: str) -> str:
    return Path(f"save/{name}/log.txt").read_text()


@pytest.mark.slow
def test_training_learns_and_saves(pictures) -> None:
    """With SSIM of whole pictures in its validation, and scales up to 6, which stay with the weights."""
    config = train_config(pictures, epoch_max=3, val_metrics=["ssim"])
    whole = (
        "val_dataset={batch_size: 1, wrapper: {args: {inp_size: null, sample_q: null, scale_min: 2, scale_max: null}}}"
    )
    state = trained(config, "r", whole, f"{WRAPPER}.scale_max=6")
    assert {"config.yaml", "log.txt", "tensorboard", "epoch-last.pth", "epoch-best.pth", "epoch-2.pth"} <= {
        path.name for path in Path("save/r").iterdir()
    }
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", log_of("r"))]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert len(re.findall(r"val PSNR [\d.]+ dB, SSIM 0\.\d+", log_of("r"))) == 3
    assert load_upscaler("save/r/epoch-last.pth").model.trained_scales == (1, 6)
    torch.save({"model": state["model"]}, "without.pth")
    assert load_upscaler("without.pth").model.trained_scales == (1, 4)
    torch.save({"model": state["model"], "trained_scales": [4, 1]}, "wrong.pth")
    with pytest.raises(InputError, match="trained_scales"):
        load_upscaler("wrong.pth")


@pytest.mark.slow
def test_training_stops_in_time_and_starts_from_weights(pictures) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None)
    assert trained(config, "short", options=("--max-minutes", "1e-9"))["step"] == 1  # one step, then it saves
    state = trained(config, "short", options=("--resume",))
    assert state["step"] == 3
    tuned = trained(config, "tuned", "init=save/short/epoch-last.pth", "optimizer.args.lr=0")
    assert equal(tuned["model"]["sd"], state["model"]["sd"])


@pytest.mark.slow
def test_gradients_are_summed_over_parts_and_clipped(pictures) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None, optimizer={"name": "sgd", "args": {"lr": 0.1}})
    one, parts, clipped, still = (
        trained(config, f"r{number}", change)["model"]["sd"]
        for number, change in enumerate(
            ("accumulate=1", "accumulate=3", "clip_grad=1.0e-9", "optimizer.args.lr=0")  # 3 of the 4 items are 2, 1, 1
        )
    )
    for name, value in one.items():
        assert torch.allclose(parts[name], value, atol=1e-5), name
        assert torch.allclose(clipped[name], still[name], atol=1e-7), name
    assert not all(torch.allclose(one[name], value, atol=1e-5) for name, value in still.items())


@pytest.mark.slow
def test_averaged_weights_are_released_and_resumed_exactly(pictures) -> None:
    config = train_config(pictures, epoch_max=2, ema=0.9, clip_grad=0.1, accumulate=3)
    whole = trained(config, "whole")
    trained(config, "parts", "epoch_max=1")
    state = trained(config, "parts", options=("--resume",))
    assert equal(state, whole)
    differing = [name for name, value in state["trained"].items() if not torch.equal(value, state["model"]["sd"][name])]
    assert len(differing) > 10
    upscaler = Upscaler(checkpoints.make_continuous(state["model"], load_sd=True).eval())
    samples = prepare_data(yaml.safe_load(config.read_text()), "config")[1]
    *_, logged = re.findall(r"val PSNR ([\d.]+)", log_of("parts"))
    assert validate(upscaler, samples, find_protocol("rgb"), 4)["psnr"] == pytest.approx(float(logged), abs=1e-3)


@pytest.mark.slow
def test_training_stops_at_the_first_number_that_is_not_finite(pictures, capsys) -> None:
    config = train_config(pictures, multi_step_lr=None, val_dataset=None)
    trained(config, "r", "epoch_max=1")
    before = Path("save/r/epoch-last.pth").read_bytes()
    options = ("--resume", "--allow-changes", "optimizer")
    with pytest.raises(SystemExit) as ended:
        trained(config, "r", "optimizer={name: sgd, args: {lr: 1.0e+14}}", options=options)
    assert ended.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "nan" in line or "inf" in line]
    assert "save/r/epoch-last.pth holds step 3" in line
    assert Path("save/r/epoch-last.pth").read_bytes() == before


@pytest.mark.slow
def test_runs_of_the_published_programs_can_be_continued(pictures) -> None:
    """A `resume` whose file is not there, with which the published configs end, begins anew and says so."""
    config = train_config(pictures, epoch_max=1, multi_step_lr=None, val_dataset=None)
    state = trained(config, "ours", "resume=theirs.pth")
    assert "resume: theirs.pth is not there, so training begins anew" in log_of("ours")
    torch.save({key: state[key] for key in ("model", "optimizer", "epoch")}, "theirs.pth")
    assert trained(config, "more", "resume=theirs.pth", "epoch_max=2")["step"] == 2 * state["step"]


@pytest.mark.slow
def test_a_fine_tuning_with_networks_in_its_loss_goes_on_exactly(pictures, monkeypatch) -> None:
    """The encoder from a checkpoint and frozen, the decoder with a perceptual and an adversarial loss; killed."""
    monkeypatch.setattr("torchvision.models.vgg19", vgg19)
    torch.save({f"features.{name}": value for name, value in vgg19().features.state_dict().items()}, "vgg.pth")
    first = trained(train_config(pictures, epoch_max=1, val_dataset=None, multi_step_lr=None), "first")["model"]["sd"]
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
    sets = [f"{WRAPPER}.{key}" for key in ("sample_window=true", "sample_q=256", "inp_size=16", "scale_max=2")]
    state = trained(config, "whole", *sets)
    options = ["--config", config, "--device", "cpu", "--set", *sets, "--name", "parts", "--save-every", "1"]
    (status,), said = in_processes(1, train, options, kill_at(4))
    assert status == -9, said
    call(train, *options, "--resume")
    assert equal(checkpoint_of("parts"), state)
    assert state["loss"]["adversarial"]["steps"] == 6
    for name, value in state["model"]["sd"].items():
        assert torch.equal(value, first[name]) == name.startswith("encoder."), name
    assert re.search(r"init: .*at random: (imnet|hypernet)", log_of("whole"))
    rows = read_rows(Path("save/parts/curves.csv"))
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(row["loss"] > 0 and row["gradient_norm"] > 0 for row in rows)
    history = read_rows(Path("save/parts/history.csv"))
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
    trained(config, "r", "logger=wandb")
    started, *epochs = told
    assert (started["name"], started["config"]["epoch_max"]) == ("r", 2)
    assert [(step, "loss/train" in values) for step, values in epochs] == [(3, True), (6, True)]


def test_weights_that_fit_are_taken_by_name(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None)
    one, path = trained(config, "a")["model"]["sd"], "path: save/a/epoch-last.pth"
    sets = ("model.args.hypernet_spec.args.hidden_list=[20]", "optimizer.args.lr=0")
    other = trained(config, "b", *sets, f"init={{{path}, parts: fitting}}")["model"]["sd"]
    fitting = {name for name in one if one[name].shape == other[name].shape}
    assert 10 < len(fitting) < len(one)
    assert all(torch.equal(one[name], other[name]) for name in fitting)
    said = f"init: {len(fitting)} of {len(one)} parameters from save/a/epoch-last.pth; at random: hypernet"
    assert said in log_of("b")
    for init, words in (
        ("parts: [hypernet]", "hypernet"),
        ("parts: [encodr]", "did you mean 'encoder'"),
        ("parts: all", "'fitting' or a list"),
        ("part: [encoder]", "did you mean 'parts'"),
    ):
        line = mistake(capsys, train, "--config", config, "--name", "c", "--set", *sets, f"init={{{path}, {init}}}")
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
    assert trained("c.yaml", "r")["step"] == 3
    if name == "lerf-net":
        line = mistake(capsys, train, "--config", "c.yaml", "--name", "x", "--set", f"{WRAPPER}.one_channel=true")
        assert "model 'lerf-net' cannot compute pictures of 1 channel(s)" in line
        assert "remove one_channel" in line


def test_a_decoder_that_gives_another_shape_is_told_so(pictures, capsys, monkeypatch) -> None:
    sample = LMLIIF.sample
    monkeypatch.setattr(LMLIIF, "sample", lambda self, *given: sample(self, *given)[..., :1])
    line = mistake(capsys, train, "--config", train_config(pictures), "--name", "r", "--device", "cpu")
    assert "model 'lmliif' gives values of shape (1, 64, 1); expected that of the targets, (1, 64, 3)" in line
    assert not Path("save").exists()


def test_the_config_of_the_departures_is_the_published_one(shared) -> None:
    text = (ROOT / "docs/departures.md").read_text()
    config = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    ours = merge(load_config(ROOT / config.pop("extends")), config)
    theirs = load_config(shared / "published/lmf/configs/train-original/train_edsr-baseline-x2.yaml")
    for part in ("train_dataset", "val_dataset"):
        assert ours[part]["wrapper"] == theirs[part]["wrapper"]
        assert ours[part]["dataset"]["name"] == theirs[part]["dataset"]["name"]
        one, other = (
            {key: Path(str(value)).name for key, value in config[part]["dataset"]["args"].items() if key != "cache"}
            for config in (ours, theirs)
        )
        assert one == other
    assert all(ours[key] == theirs[key] for key in ("model", "optimizer", "multi_step_lr", "epoch_max", "data_norm"))
