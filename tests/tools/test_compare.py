"""tools.bench compare: one table, one front."""

import multiprocessing

import pytest

from evaluation.metrics import make_metrics
from tests.commands import call
from tools.bench import __main__ as bench
from tools.bench import compare as comparison
from tools.bench.compare import (
    BEGIN,
    END,
    Row,
    models_table,
    pareto_front,
    replace_between_marks,
    size_on_disk,
)
from utils.errors import InputError


def row(psnr: float, seconds: float) -> Row:
    scores = {
        group: {"x2": {"psnr": psnr, "ssim": 0.9}, "x8": {"psnr": psnr - 9, "ssim": 0.5}} for group in comparison.SETS
    }
    return Row(scores, seconds, 2 * seconds, 12.3, 4_500_000)


def test_table_has_a_row_for_each_model_and_the_published_figures() -> None:
    text = models_table({"fast": row(30, 0.01), "good": row(35, 0.5)}, (720, 1280), (180, 320), make_metrics())
    assert "320x180 -> 1280x720" in text
    assert "| good | 35.00 / 0.9000 | 26.00 / 0.5000 | 0.500 | 1.000 | 12 | 4.50 |" in text
    assert "| LeRF-G, published | 35.71 / 0.9475 |  |" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {8}


def test_the_front_is_what_nothing_beats() -> None:
    points = {"a": (1, 30), "slower": (2, 30), "worse": (1, 29), "b": (3, 33), "c": (0.5, 20)}
    assert pareto_front(points) == {"a", "b", "c"}


def test_size_of_a_folder_and_of_a_filter(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"4567")
    assert size_on_disk(tmp_path) == 7
    assert size_on_disk(tmp_path / "bicubic") == 0


@pytest.mark.slow
def test_models_are_compared_and_written(monkeypatch, pictures, checkpoint, tmp_path) -> None:
    context = multiprocessing.get_context("fork")  # what measures memory need not import everything anew here
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)
    config = tmp_path / "t.yaml"
    config.write_text(f"{{protocol: benchmark, scales: [2], datasets: {{N: {{hr: {pictures}}}}}}}")
    monkeypatch.setattr(comparison, "SETS", {"Set5": ((str(config), (2,)),), "samples": ((str(config), (3,)),)})
    document = tmp_path / "models.md"
    document.write_text(f"above\n{BEGIN}\n{END}\n")
    call(
        bench, "compare", "--models", "bicubic", checkpoint, "--picture", pictures / "a.png", "--input", "16x12",
        "--size", "32x24", "--repeats", 1, "--scales", "2,3", "--document", document, "--plot", tmp_path / "p.png",
    )  # fmt: skip
    text = document.read_text()
    assert "| small | " in text
    assert "| Set5 | x2 |" in text
    assert "| samples | x3 |" in text
    assert (tmp_path / "p.png").stat().st_size > 5000


def test_a_document_without_marks_stays_as_it_is(tmp_path) -> None:
    document = tmp_path / "models.md"
    document.write_text("above\n")
    with pytest.raises(InputError, match="no lines"):
        replace_between_marks(document, BEGIN, END, "table")
    assert document.read_text() == "above\n"
