"""tools.runs as users call it."""

import subprocess
import sys
from pathlib import Path

import pytest

import train
from tests.commands import ROOT, call, mistake
from tests.trainings import HOLDER, train_config
from tools import runs
from training.report import add_to_history, read_history

pytestmark = pytest.mark.usefixtures("empty_folder")


def make_run(name: str, config: str, rows: list[dict]) -> Path:
    folder = Path("save", name)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    for row in rows:
        add_to_history(folder, row)
    return folder


def epoch(number: int, psnr: float) -> dict[str, float]:
    return {"epoch": number, "step": 10 * number, "loss": 0.5 / number, "psnr": psnr, "seconds": 100.0}


def test_runs_stand_side_by_side_with_what_differs(capsys) -> None:
    make_run("a", "model: {name: lmliif}\nepoch_max: 3\nseed: 1\n", [epoch(1, 30), epoch(2, 32.5), epoch(3, 31)])
    make_run("b", "model: {name: liif}\nepoch_max: 3\nseed: 1\n", [epoch(1, 33)])
    Path("save/notes").mkdir()
    call(runs, "--sort", "psnr")
    head, a, b, _, title, names, model, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["run", "model", "epoch"]
    scores = ["0.16667", "31.000", "32.500", "2"]
    assert a.split() == ["a", "lmliif", "3/3", "done", "30", *scores, "-", "-", "-", "5", "min"]
    assert b.split()[:3] == ["b", "liif", "1/3"]
    assert (title, names.split(), model.split()) == (
        "settings that differ",
        ["a", "b"],
        ["model.name", "'lmliif'", "'liif'"],
    )


def test_runs_from_before_the_history_are_read_from_their_log(capsys) -> None:
    folder = make_run("old", "model: {name: lmliif}\nepoch_max: 9\n", [])
    (folder / "log.txt").write_text(
        "11-25 01:00:00 lmliif: 7,507 parameters, 3 steps an epoch, 9 epochs, on cpu\n"
        "11-25 01:01:00 epoch 1/9 step 3: lr 0.001, loss 0.20000, val PSNR 20.500 dB, 60 s\n"
        "11-25 01:02:00 epoch 2/9 step 6: lr 1e-05, loss 0.10000, 61 s\n"
        "11-25 01:03:00 epoch 2/9 step 6: lr 1e-05, loss 0.15000, 59 s\n"  # after a kill, once more
    )
    call(runs, "save/old")
    assert capsys.readouterr().out.splitlines()[1].split()[:8] == (
        ["old", "lmliif", "2/9", "6", "0.15000", "20.500", "20.500", "1"]
    )


def test_a_run_that_is_in_use_is_running(capsys) -> None:
    folder = make_run("a", "epoch_max: 3\n", [epoch(1, 30)])
    command = [sys.executable, "-c", HOLDER, str(folder.resolve())]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        holder.stdout.readline()
        assert runs.read_run(folder).running
        holder.communicate()
    assert not runs.read_run(folder).running


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("history.csv", "epoch,step\n1,x\n", "history.csv is damaged"), ("config.yaml", "a: [", "is not YAML")],
)
def test_mistakes(capsys, name, content, words) -> None:
    assert "no folder nowhere" in mistake(capsys, runs, "nowhere")
    folder = make_run("a", "epoch_max: 3\n", [])
    (folder / name).write_text(content)
    assert words in mistake(capsys, runs, "save")
    (folder / "config.yaml").unlink()
    assert "no runs in save" in mistake(capsys, runs)


def test_a_run_writes_what_the_table_shows(pictures, capsys) -> None:
    """An epoch that is trained again stands in the history once."""
    config = train_config(pictures, epoch_max=2, multi_step_lr=None)
    call(train, "--config", config, "--name", "r", "--device", "cpu")
    whole = read_history(Path("save/r"))
    assert [(row["epoch"], row["step"]) for row in whole] == [(1, 3), (2, 6)]
    assert all(row["samples_per_second"] > 0 and 0 <= row["waiting_share"] <= 1 for row in whole)
    assert all(row["gradient_norm"] > 0 and row["psnr"] > 0 for row in whole)
    assert add_to_history(Path("save/r"), {**whole[1], "loss": 0.25})[1]["loss"] == 0.25
    assert [row["loss"] for row in read_history(Path("save/r"))] == [whole[0]["loss"], 0.25]
    call(runs)
    assert "2/2 done" in capsys.readouterr().out
