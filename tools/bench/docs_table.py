"""The table of measured ratios in docs/benchmarks.md, made from the JSON files that tools.bench writes."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.errors import InputError
from utils.files import atomic_file

BEGIN, END = "<!-- figures: made by `python -m tools.bench docs` -->", "<!-- end of figures -->"
PORTABLE = (" / ", "MB", "saved")  # parts of the names of figures that mean something on another machine


def update_table(document: Path, reports: Sequence[Path]) -> None:
    """Replace the text between the two marks in `document` by the table of `reports`; all or nothing."""
    replace_between_marks(document, BEGIN, END, table(reports))


def replace_between_marks(document: Path, begin: str, end: str, content: str) -> None:
    """Replace what stands between two lines in `document`; all or nothing. InputError when they are not there."""
    before, first, rest = document.read_text().partition(begin)
    _, last, after = rest.partition(end)
    if not (first and last):
        raise InputError(f"{document} has no lines '{begin}' and '{end}' to put the table between")
    with atomic_file(document) as temporary:
        temporary.write_text(f"{before}{begin}\n\n{content}\n\n{end}{after}")


def table(reports: Sequence[Path]) -> str:
    """Markdown: the command, what was measured, median and range."""
    lines = ["| `python -m tools.bench` | measured | median (lowest to highest) |", "|---|---|---|"]
    for path in reports:
        try:
            report = json.loads(path.read_text())
            rows = [(name, value) for name, value in report["figures"].items() if any(w in name for w in PORTABLE)]
            command = report["settings"]["command"]
        except FileNotFoundError:
            raise InputError(f"no {path}; make it with tools.bench --json {path}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{path} is not a report of tools.bench") from None
        for name, value in rows:
            lines.append(f"| {command} | {name} | {figure_text(value)} |")
            command = ""
    return "\n".join(lines)


def figure_text(value: Any) -> str:
    """`1.42 (1.38 to 1.75)`, or a single number."""
    if isinstance(value, dict):
        return f"{rounded(value['median'])} ({rounded(value['lowest'])} to {rounded(value['highest'])})"
    return rounded(value)


def rounded(value: float) -> str:
    """Three digits, whole numbers from 100 on."""
    return f"{value:.0f}" if abs(value) >= 100 or not math.isfinite(value) else f"{value:.3g}"
