"""What test.py writes of its results: JSON that repeats them, CSV, LaTeX."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

import test
from tests.commands import call, mistake
from tests.measuring import measure, refused, results, write

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def measured(pictures) -> dict:
    """The results of two filters on three pictures, in r.json."""
    write({"Own": {"hr": str(pictures)}}, [3])
    call(test, "--config", "t.yaml", "--set", "scales=[2]", "--model", "bicubic", "nearest", "--json", "r.json")
    return results()


def test_results_hold_what_it_takes_to_repeat_them(measured, pictures) -> None:
    assert measured["complete"]
    assert measured["command"][2:4] == ["--set", "scales=[2]"]
    assert measured["config_content"] == {"scales": [2], "datasets": {"Own": {"hr": str(pictures)}}}
    assert {"threads", "versions", "commit", "cmsr"} <= measured.keys()
    assert measured["models"]["bicubic"]["path"] == "bicubic"
    assert measured["models"]["bicubic"]["backend"] == "torch"
    assert measured["models"]["bicubic"]["data_norm"]["inp"] == {"sub": [0.5], "div": [0.5]}
    hashes = measured["results"][0]["hashes"]
    assert hashes.keys() == {"a.png", "b.png", "c.png"}
    assert len({h for pair in hashes.values() for h in pair.values()}) == 6


def test_the_same_again(measured, capsys) -> None:
    Path("t.yaml").unlink()  # all of it is in the results
    call(test, "--again", "r.json", "--json", "again.json")
    assert "the same: 12 scores" in capsys.readouterr().out
    assert results("again.json")["results"] == measured["results"]
    assert "only --json" in mistake(capsys, test, "--again", "r.json", "--scales", 3)
    for content, words in (
        ({**measured, "complete": False}, "did not end"),
        ({**measured, "results": [{"pictures": {"a.png": {"bicubic": {"psnr": "high"}}}}]}, "is damaged"),
        ({**measured, "results": [{"pictures": 3}]}, "is damaged"),
        ({"results": []}, "command"),
    ):
        Path("r.json").write_text(json.dumps(content))
        assert words in mistake(capsys, test, "--again", "r.json")


def test_what_differs_again_is_named(measured, pictures, capsys) -> None:
    Image.open(pictures / "b.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(pictures / "b.png")
    measured["results"][0]["pictures"]["a.png"]["nearest"]["psnr"] += 0.01
    measured["models"]["bicubic"]["weights_hash"] = "other"
    Path("r.json").write_text(json.dumps(measured))
    with pytest.raises(SystemExit) as ended:
        call(test, "--again", "r.json")
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert "Own x2 b.png: another picture" in out
    assert "Own x2 a.png nearest psnr: " in out
    assert "bicubic: other weights" in out
    assert "c.png: another" not in out


def test_results_before_a_broken_picture_are_kept(pictures, capsys) -> None:
    (pictures / "d.png").write_bytes((pictures / "c.png").read_bytes()[:400])
    write({"Own": {"hr": str(pictures)}})
    assert "d.png" in refused(capsys, "nearest", "--json", "r.json")
    report = results()
    assert not report["complete"]
    assert report["results"][0]["pictures"].keys() == {"a.png", "b.png", "c.png"}


def test_results_of_another_call_stay(pictures, capsys) -> None:
    write({"Own": {"hr": str(pictures)}})
    for model in ("nearest", "bicubic", "nearest"):
        measure(model)
    assert sorted(path.name for path in Path("save/results").iterdir()) == ["t-2.json", "t.json"]
    named = ("--config", "t.yaml", "--json", "r.json", "--csv", "r.csv")
    call(test, *named, "--model", "nearest")
    assert "r.json holds other results" in mistake(capsys, test, *named, "--model", "bicubic")
    assert "nearest" in Path("r.csv").read_text()
    assert "name one file" in mistake(capsys, test, *named[:2], "--model", "nearest", "--json", "x", "--csv", "x")
    call(test, *named, "--model", "bicubic", "--overwrite")
    assert "nearest" not in Path("r.csv").read_text()


def test_tables_of_papers(pictures, capsys) -> None:
    write({"My_Set": {"hr": str(pictures)}}, [2, 3])
    models = ("nearest", "bicubic", "lanczos")
    options = ("--metrics", "psnr", "mae", "--csv", "r.csv", "--latex", "r.tex", "--json", "r.json")
    measure(*models, *options)
    out = capsys.readouterr().out
    assert "My_Set x3, PSNR/MAE" in out
    assert "wrote r.json, r.csv, r.tex" in out
    report = results()["results"]
    rows = list(csv.DictReader(Path("r.csv").read_text().splitlines()))
    assert len(rows) == 2 * len(models) * 2
    row = next(r for r in rows if (r["scale"], r["model"], r["metric"]) == ("x3", "bicubic", "mae"))
    gained = [scores["bicubic"]["mae"] - scores["nearest"]["mae"] for scores in report[1]["pictures"].values()]
    assert float(row["difference"]) == pytest.approx(sum(gained) / 3, rel=1e-4)
    assert min(gained) - 1e-4 <= float(row["difference_low"]) <= float(row["difference_high"]) <= max(gained) + 1e-4
    assert f"{float(row['difference']):+.3f} [" in out
    assert report[1]["difference"]["bicubic"]["mae"]["mean"] == pytest.approx(float(row["difference"]), rel=1e-4)
    table = Path("r.tex").read_text()
    assert "\\toprule" in table
    assert "My\\_Set x2" in table
    means = {label: report[0]["mean"][label]["mae"] for label in models}
    best, second, _ = sorted(models, key=means.get)
    assert f"\\textbf{{{means[best]:.3f}}}" in next(line for line in table.splitlines() if line.startswith(best))
    assert f"\\underline{{{means[second]:.3f}}}" in next(line for line in table.splitlines() if line.startswith(second))
    assert table.count("\\textbf") == table.count("\\underline") == 4
