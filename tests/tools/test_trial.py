"""Trials: every entry with every seed, once each, and one table of all."""

import json

import pytest
import yaml

from tests.commands import call, mistake
from tests.conftest import SMALL_LMLIIF
from tests.datasets.making import write_pictures
from tools import trial


@pytest.fixture
def config(tmp_path):
    pictures = write_pictures(tmp_path / "pictures", a=(32, 32), b=(32, 32))
    folder = {"name": "image-folder", "args": {"root_path": str(pictures)}}
    wrapper = {"name": "sr-implicit-downsampled", "args": {"inp_size": 8, "scale_max": 2, "sample_q": 16}}
    content = {
        "train_dataset": {"dataset": folder, "wrapper": wrapper, "batch_size": 2},
        "model": SMALL_LMLIIF,
        "optimizer": {"name": "adam", "args": {"lr": 1.0e-3}},
        "epoch_max": 1,
        "num_workers": 0,
        "trial": {
            "entries": {"plain": {}, "narrow": {"model": {"args": {"imnet_spec": {"args": {"hidden_dim": 4}}}}}},
            "sets": {
                "own": {
                    "protocol": "rgb",
                    "scales": [2],
                    "metrics": ["mae"],
                    "datasets": {"own": {"hr": str(pictures)}},
                }
            },
        },
    }
    path = tmp_path / "trial.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_runs_are_made_once_and_compared(config, tmp_path) -> None:
    root = tmp_path / "runs"
    other = "trial.sets.other={protocol: rgb, scales: [2], datasets: {other: {hr: nowhere}}}"
    options = ("--root", root, "--seeds", 0, 1, "--set", other, "--set", "trial.sets.other=null")
    call(trial, config, *options)
    checkpoints = {path: path.stat().st_mtime_ns for path in root.glob("*-[01]/epoch-last.pth")}
    assert len(checkpoints) == 4
    rows = json.loads((root / "trial.json").read_text())
    assert rows["narrow"]["0"]["parameters"] < rows["plain"]["0"]["parameters"]
    assert list(rows["plain"]["0"]["psnr"]) == ["own"]  # a set may be left out
    first, second = (rows["plain"][seed]["psnr"]["own"]["x2"] for seed in ("0", "1"))
    assert first != second
    line = next(line for line in (root / "trial.md").read_text().splitlines() if line.startswith("| plain"))
    first_mae, second_mae = (rows["plain"][seed]["mae"]["own"]["x2"] for seed in ("0", "1"))
    assert "| own x2 mae |" in (root / "trial.md").read_text()
    assert f"| {(first_mae + second_mae) / 2:.4f} ({abs(first_mae - second_mae):.4f}) |" in line
    assert f"| 2 | 1 | {(first + second) / 2:.2f} ({abs(first - second):.2f}) |" in line

    call(trial, config, *options)
    assert {path: path.stat().st_mtime_ns for path in checkpoints} == checkpoints


def test_runs_of_another_trial_are_not_mixed_in(config, tmp_path, capsys) -> None:
    root = tmp_path / "runs"
    root.mkdir()
    (root / "plain-0.yaml").write_text("epoch_max: 7\n")
    assert "another --root" in mistake(capsys, trial, config, "--root", root)
    assert not (root / "plain-0").exists()
