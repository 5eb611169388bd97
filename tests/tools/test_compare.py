"""tools.bench compare: one table, one plot."""

import json
import multiprocessing

import pytest

from tests.commands import call
from tools.bench import __main__ as bench
from tools.bench import compare as comparison
from tools.bench.compare import size_on_disk


def test_size_of_a_folder_and_of_a_filter(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"4567")
    assert size_on_disk(tmp_path) == 7
    assert size_on_disk(tmp_path / "bicubic") == 0


@pytest.mark.slow
def test_models_are_compared_and_written(monkeypatch, pictures, checkpoint, tmp_path, capsys) -> None:
    context = multiprocessing.get_context("fork")  # what measures memory need not import everything anew here
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)
    config = tmp_path / "t.yaml"
    config.write_text(f"{{protocol: benchmark, scales: [2], datasets: {{N: {{hr: {pictures}}}}}}}")
    monkeypatch.setattr(comparison, "SETS", {"Set5": ((str(config), (2,)),), "samples": ((str(config), (3,)),)})
    call(
        bench, "compare", "--models", "bicubic", checkpoint, "--picture", pictures / "a.png", "--input", "16x12",
        "--size", "32x24", "--repeats", 1, "--scales", "2,3", "--plot", tmp_path / "p.png",
        "--json", tmp_path / "c.json",
    )  # fmt: skip
    table = capsys.readouterr().out
    assert "16x12 -> 32x24" in table
    assert {line.count("|") for line in table.splitlines() if line.startswith("|")} == {7}
    for group, scale in (("Set5", "x2"), ("samples", "x3")):
        assert f"| {group} | {scale} | encode, s" in table
    scores = json.loads((tmp_path / "c.json").read_text())["models"]["bicubic"]["scores"]["Set5"]["x2"]
    assert f"| bicubic | {scores['psnr']:.2f} / {scores['ssim']:.4f} | " in table
    assert (tmp_path / "p.png").stat().st_size > 5000
