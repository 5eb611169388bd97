"""The commands of docs/research.md, in their order, on tiny data."""

import csv
import re
import shlex
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

import init_cmsr
import test
import train
from tests.commands import ROOT, call
from tests.evaluation.conftest import FakeLPIPS
from tests.training.losses.narrow import vgg19
from tests.trainings import checkpoint_of
from tools.bench import __main__ as bench
from training import loop
from utils.processes import Stopped

PROGRAMS = {"train.py": train, "test.py": test, "tools.bench": bench, "init_cmsr.py": init_cmsr}


@pytest.mark.usefixtures("empty_folder")
def test_an_afternoon(pictures, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=FakeLPIPS))
    monkeypatch.setattr("torchvision.models.vgg19", vgg19)
    Path("save").mkdir()
    for name in ("configs", "load", "save/pretrained_models"):
        Path(name).symlink_to(ROOT / name)
    text = (ROOT / "docs/research.md").read_text()
    Path("tune.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    commands = [shlex.split(line) for line in re.findall(r"^    python (?:-m )?(.*)", text, re.MULTILINE)]
    assert [words[0] for words in commands] == ["train.py", "train.py", "test.py", "tools.bench", "init_cmsr.py"]
    tiny = [
        f"{part}.{key}={value}"
        for part in ("train_dataset", "val_dataset")
        for key, value in {
            "dataset.args.root_path": pictures, "dataset.args.repeat": 2, "wrapper.args.scale_max": 1.4,
            "batch_size": 2,
        }.items()
    ]  # fmt: skip
    changes = [part for change in (*tiny, "epoch_max=2") for part in ("--set", change)]

    step, steps = loop.train_step, []

    def stopped_step(run, batch):
        steps.append(run.step)
        if len(steps) == 2:
            signal.raise_signal(signal.SIGTERM)
        return step(run, batch)

    call(train, *commands[0][1:], *changes, "--name", "whole", "--device", "cpu")
    monkeypatch.setattr(loop, "train_step", stopped_step)
    with pytest.raises((SystemExit, Stopped)):
        call(train, *commands[0][1:], *changes, "--device", "cpu")
    call(train, *commands[1][1:], *changes, "--device", "cpu")
    whole, resumed = (checkpoint_of(name)["model"]["sd"] for name in ("whole", "tune"))
    assert len(steps) == 6
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    start = weights_of("s")
    assert all(torch.equal(value, start[name]) for name, value in resumed.items() if name.startswith("encoder."))
    assert not all(torch.equal(value, start[name]) for name, value in resumed.items())

    small = ("--set", "datasets.samples.first_k=2", "--device", "cpu")
    call(test, *commands[2][1:], *small)
    rows = list(csv.DictReader(Path("tune.csv").read_text().splitlines()))
    assert {row["metric"] for row in rows} == {"psnr", "ssim", "lpips"}
    assert "LPIPS~$\\downarrow$" in Path("tune.tex").read_text()
    call(bench, *commands[3][1:])
    assert "tune " in capsys.readouterr().out
    call(init_cmsr, *commands[4][1:], "--set", f"dataset.dataset.args.root_path={pictures}", "--device", "cpu",
         "--set", "dataset.wrapper.args.inp_size=16")  # fmt: skip
    assert list(yaml.safe_load(Path("tune-cmsr.yaml").read_text())["scale2mod"]) == [8]


def weights_of(name: str) -> dict[str, torch.Tensor]:
    from models.checkpoints.loading import load_upscaler

    return load_upscaler(name).model.state_dict()
