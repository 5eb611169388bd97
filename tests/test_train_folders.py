"""The folders of training runs: which are refused, emptied, shared or used again."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

import train
from models.checkpoints.loading import load_checkpoint
from tests.commands import ROOT, call, failure, mistake
from tests.trainings import HOLDER, train_config

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.mark.slow
def test_training_does_not_mix_runs(pictures, capsys) -> None:
    config = train_config(pictures, epoch_max=1)
    assert "start without --resume" in mistake(capsys, train, "--config", config, "--name", "r", "--resume")
    call(train, "--config", config, "--name", "r")
    before = Path("save/r/epoch-last.pth").read_bytes()
    assert "--overwrite" in mistake(capsys, train, "--config", config, "--name", "r")
    other = ("--set", "model.name=liif", "--set", "model.args.hypernet_spec=null")
    mistake(capsys, train, "--config", config, "--name", "r", "--resume", *other)
    mistake(capsys, train, "--config", config, "--name", "r", "--overwrite", "--set", "optimizer.name=adm")
    assert Path("save/r/epoch-last.pth").read_bytes() == before
    call(train, "--config", config, "--name", "r", "--overwrite", "--set", "seed=5")
    assert Path("save/r/epoch-last.pth").read_bytes() != before


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
@pytest.mark.parametrize("foreign", ["tensorboard/thesis.tex", "notes/log.txt"])
def test_overwrite_refuses_folders_with_other_files(pictures, capsys, foreign) -> None:
    config = train_config(pictures, epoch_max=1, val_dataset=None)
    call(train, "--config", config, "--name", "r")
    path = Path("save/r", foreign)
    path.parent.mkdir(exist_ok=True)
    path.write_text("keep me")
    before = sorted(Path("save/r").rglob("*"))
    named = foreign.split("/")[0]
    assert f"save/r/{named} does not belong to a run" in mistake(
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
    files = "config.yaml log.txt tensorboard epoch-last.pth epoch-last.safetensors curves.csv history.csv plot.png"
    assert {path.name for path in Path("elsewhere").iterdir()} == set(files.split())
    Path("save/lost").symlink_to("nowhere")
    assert "save/lost" in mistake(capsys, train, "--config", config, "--name", "lost")


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
