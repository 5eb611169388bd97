"""tools.runs as users call it."""

import subprocess
import sys
from pathlib import Path

import pytest

import train
from tests.commands import ROOT, call, mistake
from tests.trainings import HOLDER, train_config
from tools import runs
from training.report import HISTORY, add_to_history, read_rows

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


def test_a_run_that_is_in_use_is_running(capsys) -> None:
    folder = make_run("a", "epoch_max: 3\n", [epoch(1, 30)])
    command = [sys.executable, "-c", HOLDER, str(folder.resolve())]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        holder.stdout.readline()
        assert runs.read_run(folder).cells["epoch"] == "1/3 running"
        holder.communicate()
    assert runs.read_run(folder).cells["epoch"] == "1/3"


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
    whole = read_rows(Path("save/r", HISTORY))
    assert [(row["epoch"], row["step"]) for row in whole] == [(1, 3), (2, 6)]
    assert all(row["samples_per_second"] > 0 and 0 <= row["waiting_share"] <= 1 for row in whole)
    assert all(row["gradient_norm"] > 0 and row["psnr"] > 0 for row in whole)
    assert add_to_history(Path("save/r"), {**whole[1], "loss": 0.25})[1]["loss"] == 0.25
    assert [row["loss"] for row in read_rows(Path("save/r", HISTORY))] == [whole[0]["loss"], 0.25]
    call(runs)
    assert "2/2 done" in capsys.readouterr().out
