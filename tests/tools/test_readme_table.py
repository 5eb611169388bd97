"""The README's table of figures."""

import json

import pytest

from tools.bench.readme_table import BEGIN, END, update_readme
from utils.errors import InputError


def test_the_table_replaces_what_stands_between_the_marks(tmp_path) -> None:
    readme, report = tmp_path / "README.md", tmp_path / "r.json"
    readme.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    figures = {
        "x4, s": {"median": 0.5, "lowest": 0.4, "highest": 0.6},
        "x4 / product": {"median": 1.4156, "lowest": 1, "highest": 2.25},
        "peak, MB": 662.4,
    }
    report.write_text(json.dumps({"settings": {"command": "render"}, "figures": figures}))
    for _ in range(2):
        update_readme(readme, [report])
        text = readme.read_text()
        assert text.startswith(f"above\n{BEGIN}\n\n| `python -m tools.bench`")
        assert text.endswith(f"{END}\nbelow\n")
        assert "| render | x4 / product | 1.42 (1 to 2.25) |\n|  | peak, MB | 662 |\n" in text
        assert "old" not in text
        assert "x4, s" not in text


def test_mistakes_leave_the_readme_alone(tmp_path) -> None:
    readme, report = tmp_path / "README.md", tmp_path / "r.json"
    readme.write_text(f"{BEGIN}\nold\n{END}\n")
    with pytest.raises(InputError, match=r"no .*r\.json"):
        update_readme(readme, [report])
    report.write_text("{}")
    with pytest.raises(InputError, match="not a report"):
        update_readme(readme, [report])
    assert readme.read_text() == f"{BEGIN}\nold\n{END}\n"
    readme.write_text("no marks\n")
    with pytest.raises(InputError, match="no lines"):
        update_readme(readme, [])
