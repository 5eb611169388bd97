"""Results as a text table, as CSV, and as a LaTeX table."""

import csv
import io
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from evaluation.metrics import Metric
from evaluation.statistics import Estimate, Rows, differences, estimates, exact_pictures, means
from evaluation.tasks import Task

COLUMNS = (
    "dataset", "scale", "protocol", "lr_source", "model", "metric", "pictures", "mean", "low", "high", "difference",
    "difference_low", "difference_high",
)  # fmt: skip


MPSNR = SimpleNamespace(heading="mPSNR", digits=3, lower_is_better=False)  # under warps, beside the metrics


def columns_of(task: Task, metrics: Mapping[str, Metric]) -> Mapping[str, Any]:
    """The scores of a task, {name: heading, digits and rank}: under warps, mPSNR alone."""
    return {"mpsnr": MPSNR} if task.warp else metrics


def interval_text(estimate: Estimate, digits: int) -> str:
    return "" if estimate.low is None else f"[{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def report_text(task: Task, rows: Rows, metrics: Mapping[str, Metric], notices: Sequence[str] = ()) -> str:
    """The scores of every picture and their means, aligned, below any `notices`; then intervals of the means, and of
    their differences to the first model."""
    columns, mean = columns_of(task, metrics), means(rows)
    lines = {**rows, "mean": mean}
    first = max(map(len, lines))
    widths = {
        label: max(len(label), *(len(scores_text(row[label], columns)) for row in lines.values())) for label in mean
    }
    where = task.protocol.warp_description if task.warp else task.protocol.description
    text = [
        f"\n{task.name} {task.label}, {'/'.join(c.heading for c in columns.values())}, {where}, LR {task.lr_source}",
        *notices,
    ]
    text.append(" " * first + "".join(f"  {label:>{width}}" for label, width in widths.items()))
    for name, row in lines.items():
        cells = "".join(f"  {scores_text(row[label], columns):>{width}}" for label, width in widths.items())
        text.append(f"{name:{first}}{cells}")
    if exact := exact_pictures(rows):
        text.append(f"{len(exact)} of {len(rows)} pictures rendered exactly, not in the means: {', '.join(exact)}")
    text += interval_lines(rows, columns)
    for label, scores in mean.items():
        if "share" in scores:
            time_ratio, full = (
                scores["decoder_seconds"] / scores["decoder_seconds_full"],
                mean[label.removesuffix("+cmsr")],
            )
            lost = f"{full['psnr'] - scores['psnr']:.4f} dB lost, " if "psnr" in scores else ""
            text.append(
                f"{label}: {scores['share']:.1%} of the queries, {time_ratio:.2f} of the decoder time, {lost}"
                f"PSNR to full rendering {scores['psnr_to_full']:.2f} dB"
            )
    return "\n".join(text)


def interval_lines(rows: Rows, columns: Mapping[str, Any]) -> list[str]:
    """A line for each model: 95 % intervals of its means, and its differences to the first model with theirs."""
    lines, gains = [], differences(rows, list(columns))
    for label, scores in estimates(rows, list(columns)).items():
        parts = []
        for name, column in columns.items():
            interval, gain = interval_text(scores[name], column.digits), gains.get(label, {}).get(name)
            more = f", {gain.mean:+.{column.digits}f} {interval_text(gain, column.digits)}" if gain else ""
            parts += [f"{column.heading} {interval}{more}"] if interval else []
        if parts:
            against = f" against {next(iter(next(iter(rows.values()))))}" if label in gains else ""
            lines.append(f"{label}, 95 %: {'; '.join(parts)}{against}")
    return lines


def scores_text(scores: Mapping[str, float], columns: Mapping[str, Any]) -> str:
    return "/".join(f"{scores[name]:.{column.digits}f}" for name, column in columns.items())


def as_csv(measured: Sequence[tuple[Task, Rows]], metrics: Mapping[str, Metric]) -> str:
    """A line for each set, scale, model and metric: mean, interval, and difference to the first model with its own."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for task, rows in measured:
        names = list(columns_of(task, metrics))
        gains, pictures = differences(rows, names), len(rows) - len(exact_pictures(rows))
        about = (task.name, task.label, task.protocol.name, task.lr_source)
        for label, scores in estimates(rows, names).items():
            for name in names:
                gain: Any = gains[label][name] if label in gains else (None, None, None)
                numbers = ("" if value is None else f"{value:.6g}" for value in (*scores[name], *gain))
                writer.writerow([*about, label, name, pictures, *numbers])
    return text.getvalue()


def as_latex(measured: Sequence[tuple[Task, Rows]], metrics: Mapping[str, Metric]) -> str:
    """A table for booktabs: a row for each model, a column for each set, scale and metric; the best mean in bold, the
    second underlined, equal ones alike."""
    groups = [(f"{task.name} {task.label}".strip(), columns_of(task, metrics), means(rows)) for task, rows in measured]
    labels = list(dict.fromkeys(label for _, _, mean in groups for label in mean))
    cells: dict[str, list[str]] = {label: [] for label in labels}
    for _, columns, mean in groups:
        for name, column in columns.items():
            shown = {label: f"{scores[name]:.{column.digits}f}" for label, scores in mean.items()}
            ranked = sorted(set(shown.values()), key=float, reverse=not column.lower_is_better)
            marks = dict(zip(ranked, ("\\textbf{%s}", "\\underline{%s}"), strict=False)) if len(shown) > 1 else {}
            for label in labels:  # CMSR renders no warps
                cells[label].append(marks.get(shown[label], "%s") % shown[label] if label in shown else "--")
    spans = [f"\\multicolumn{{{len(columns)}}}{{c}}{{{escaped(name)}}}" for name, columns, _ in groups]
    shown = [column for _, columns, _ in groups for column in columns.values()]
    heads = [f"{escaped(c.heading)}~$\\{'down' if c.lower_is_better else 'up'}arrow$" for c in shown]
    lines = [
        f"\\begin{{tabular}}{{l{'c' * len(heads)}}}", "\\toprule", f" & {' & '.join(spans)} \\\\",
        f"Method & {' & '.join(heads)} \\\\", "\\midrule",
        *(f"{escaped(label)} & {' & '.join(cells[label])} \\\\" for label in labels),
        "\\bottomrule", "\\end{tabular}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text as LaTeX takes it."""
    return "".join({"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}.get(c, c)
                   if c not in "&%$#_{}" else f"\\{c}" for c in text)  # fmt: skip
