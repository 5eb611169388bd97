"""The whole chain of LeRF: train networks, export tables, fine-tune them, measure."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import models
import test as test_program
import train
from models.checkpoints.loading import load_checkpoint, load_upscaler, save_checkpoint
from models.lerf.tables import tabulated
from tests.commands import ROOT, call, mistake
from tools import export_lut
from utils import cli

pytestmark = pytest.mark.usefixtures("empty_folder")


def train_lerf(pictures, config: str, name: str, *changes: str) -> None:
    dataset = f"{{name: image-folder, args: {{root_path: {pictures}, repeat: 16, cache: in_memory}}}}"
    call(
        train, "--config", ROOT / "configs/train-lerf" / config, "--name", name,
        "--set", f"train_dataset.dataset={dataset}", "--set", f"val_dataset.dataset={dataset}",
        "--set", "train_dataset.wrapper.args.inp_size=10", "--set", "val_dataset.dataset.args.repeat=1",
        "--set", "train_dataset.wrapper.args.scale_min=2", "--set", "train_dataset.batch_size=4",
        "--set", "train_dataset.wrapper.args.scale_max=2", "--set", "val_dataset.wrapper.args.scale_min=2",
        "--set", "num_workers=0",
        *(part for change in changes for part in ("--set", change)),
    )  # fmt: skip


def measured(pictures, *names) -> list[float]:
    """Mean PSNR at x2 of every model on the pictures themselves."""
    config = {"protocol": "lerf", "scales": [2], "datasets": {"own": {"hr": str(pictures)}}}
    (pictures.parent / "test.yaml").write_text(yaml.safe_dump(config))
    call(test_program, "--config", pictures.parent / "test.yaml", "--json", "scores.json", "--model", *names)
    (result,) = json.loads((pictures.parent / "scores.json").read_text())["results"]
    return [scores["psnr"] for scores in result["mean"].values()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "kernel"), [("lerf-g", "gauss"), pytest.param("lerf-l", "linear", marks=pytest.mark.thorough)]
)
def test_train_export_fine_tune_evaluate(pictures, capsys, kind, kernel) -> None:
    small = "model.args.modes=st"
    train_lerf(pictures, f"train_{kind}.yaml", "net", small, "model.args.nf=8", "epoch_max=6", "optimizer.args.lr=0.01")
    network = "save/net/epoch-last.pth"
    call(export_lut, "--model", network, "--output", "tables", "--npy")
    assert "MiB of LUTs" in capsys.readouterr().out
    train_lerf(
        pictures, "train_lerf-lut.yaml", "tuned", small, f"model.args.kernel={kernel}", "init=tables/tables.pth",
        "epoch_max=3", "optimizer.args.lr=0.5",
    )  # fmt: skip
    call(export_lut, "--model", "save/tuned/epoch-best.pth", "--output", "tables-ft")
    scores = measured(pictures, "nearest", network, "tables", "tables/tables.pth", "tables-ft")
    nearest, of_network, of_tables, of_file, of_tuned = scores
    assert of_network > 25  # dB; at such rates 72 steps end between 28 and 35, and an untrained network has 7
    assert of_tables == of_file
    assert abs(of_tables - of_network) < 0.5
    assert of_tuned > max(of_tables, nearest)


def exported(seed: int = 0, **arguments) -> tuple[str, str]:
    """A checkpoint of a small network, and the folder its tables go to."""
    torch.manual_seed(seed)
    spec = {"name": "lerf-g", "args": {"nf": 4, **arguments}}
    save_checkpoint(f"net{seed}.pth", {"model": {**spec, "sd": models.make(spec).state_dict()}})
    return f"net{seed}.pth", "tables"


@pytest.mark.parametrize("output", ["tables", "luts.safetensors"])
def test_the_file_says_how_tables_are_laid_out(output) -> None:
    """A checkpoint in a folder, beside the authors' files, or a file alone."""
    model, single = exported(modes="st", support=4)[0], output.endswith("s.safetensors")
    call(export_lut, "--model", model, "--output", output, *(() if single else ("--npy",)))
    content = load_checkpoint(output if single else "tables/tables.pth")
    patterns = {"s": [[0, 0], [0, 1], [1, 0], [1, 1]], "t": [[0, 0], [1, 1], [2, 2], [3, 3]]}
    layout = {"interval": 16, "shape": [17] * 4, "modes": "st", "rotations": 4}
    assert content["tables"] == {**layout, "kernel": "gauss", "patterns": patterns}
    assert content["model"]["args"] == {"kernel": "gauss", "modes": "st", "support": 4, "antialias": True}
    assert set(content["model"]["sd"]) == {name for name, *_ in load_upscaler(output).model.units()}
    for name, table in content["model"]["sd"].items():
        assert table.dtype == torch.int8
        assert single or np.array_equal(np.load(f"tables/LUT_{name}.npy"), table.numpy())


def test_what_was_exported_last_counts() -> None:
    model, folder = exported(support=4)
    call(export_lut, "--model", model, "--output", folder, "--npy")
    assert load_upscaler(folder).model.kernel.radius == 2
    other, _ = exported(seed=1)
    call(export_lut, "--model", other, "--output", folder, "--overwrite")
    assert torch.equal(load_upscaler(folder).model.s1_sr0, tabulated(load_upscaler(other).model).s1_sr0)


def test_mistakes_are_explained(pictures, checkpoint, capsys) -> None:
    model, folder = exported()
    assert "LMLIIF" in mistake(capsys, export_lut, "--model", checkpoint, "--output", folder)
    assert "nothere.pth" in mistake(capsys, export_lut, "--model", "nothere.pth", "--output", folder)
    assert "--npy" in mistake(capsys, export_lut, "--model", model, "--output", "k.safetensors", "--npy")
    for output in (folder, "k.safetensors"):
        call(export_lut, "--model", model, "--output", output)
        assert "--overwrite" in mistake(capsys, export_lut, "--model", model, "--output", output)
    call(export_lut, "--model", "tables", "--output", folder, "--overwrite")
    assert model in mistake(capsys, export_lut, "--model", model, "--output", model)


def test_a_signal_ends_in_one_line_and_leaves_nothing(monkeypatch, capsys) -> None:
    spec = {"name": "lerf-lut", "args": {"kernel": "linear", "modes": "s"}}
    save_checkpoint("own.pth", {"model": {**spec, "sd": models.make(spec).state_dict()}})
    monkeypatch.setattr(export_lut, "content", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda _: call(export_lut, "--model", "own.pth", "--output", "luts"))
    assert ended.value.code == 143
    assert capsys.readouterr().err.endswith(": stopped by SIGTERM\n")
    assert not Path("luts").exists()


def test_it_runs_as_the_script_that_lerf_has(tmp_path) -> None:
    """`python tools/export_lut.py`, from anywhere."""
    command = [sys.executable, str(ROOT / "tools/export_lut.py"), "--model", "nothere.pth", "--output", "luts"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "no checkpoint nothere.pth" in ended.stderr
    assert ended.stderr.count("\n") == 1
