"""The table of figures in docs/benchmarks.md."""

import json

import pytest

from tools.bench.docs_table import BEGIN, END, update_table
from utils.errors import InputError


def test_the_table_replaces_what_stands_between_the_marks(tmp_path) -> None:
    document, report = tmp_path / "benchmarks.md", tmp_path / "r.json"
    document.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    figures = {
        "x4, s": {"median": 0.5, "lowest": 0.4, "highest": 0.6},
        "x4 / product": {"median": 1.4156, "lowest": 1, "highest": 2.25},
        "peak, MB": 662.4,
    }
    report.write_text(json.dumps({"settings": {"command": "render"}, "figures": figures}))
    for _ in range(2):
        update_table(document, [report])
        text = document.read_text()
        assert text.startswith(f"above\n{BEGIN}\n\n| `python -m tools.bench`")
        assert text.endswith(f"{END}\nbelow\n")
        assert "| render | x4 / product | 1.42 (1 to 2.25) |\n|  | peak, MB | 662 |\n" in text
        assert "old" not in text
        assert "x4, s" not in text


def test_mistakes_leave_the_document_alone(tmp_path) -> None:
    document, report = tmp_path / "benchmarks.md", tmp_path / "r.json"
    document.write_text(f"{BEGIN}\nold\n{END}\n")
    with pytest.raises(InputError, match=r"no .*r\.json"):
        update_table(document, [report])
    report.write_text("{}")
    with pytest.raises(InputError, match="not a report"):
        update_table(document, [report])
    assert document.read_text() == f"{BEGIN}\nold\n{END}\n"
    document.write_text("no marks\n")
    with pytest.raises(InputError, match="no lines"):
        update_table(document, [])
