"""Compare training runs in one table: `python -m tools.runs`, or `python -m tools.runs save/a save/b`."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.folder import leaves
from training.report import HISTORY, duration, read_rows
from utils import cli
from utils.config import load_config
from utils.errors import InputError, shortened
from utils.files import atomic_file, check_target, is_locked

ABSENT = "-"
COLUMNS = (
    "run", "model", "epoch", "steps", "loss", "last PSNR", "best PSNR", "at", "dead units", "samples/s", "waiting",
    "trained",
)  # fmt: skip
SORTED_BY = {
    "name": lambda run: run.name,
    "psnr": lambda run: -math.inf if run.best is None else run.best,
    "loss": lambda run: math.inf if run.loss is None else run.loss,
    "time": lambda run: run.seconds,
}
SETTINGS_SIDE_BY_SIDE = 12  # more differing settings are only counted


@dataclass(frozen=True)
class RunSummary:
    """Figures from the files of a run; None where nothing was measured."""

    name: str
    config: Mapping[str, Any]
    running: bool
    epoch: int
    step: int
    loss: float | None
    psnr: float | None
    best: float | None
    best_epoch: int | None
    dead_units: float | None
    samples_per_second: float | None
    waiting_share: float | None
    seconds: float

    def row(self) -> tuple[str, ...]:
        """A text for each of COLUMNS."""
        whole = self.config.get("epoch_max")
        state = " running" if self.running else " done" if self.epoch == whole else ""
        return (
            self.name, str((self.config.get("model") or {}).get("name", ABSENT)), f"{self.epoch}/{whole}{state}",
            str(self.step), text(self.loss, ".5f"), text(self.psnr, ".3f"), text(self.best, ".3f"),
            text(self.best_epoch, "d"), text(self.dead_units, ".0%"),
            text(self.samples_per_second, ".3g"), text(self.waiting_share, ".0%"),
            duration(self.seconds) if self.seconds else ABSENT,
        )  # fmt: skip


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(prog="tools.runs", description="Compare training runs in one table, with what differs in them.")
    parser.add_argument("runs", nargs="*", default=["save"], help="folders of runs, or folders that hold some")
    parser.add_argument("--sort", choices=SORTED_BY, default="name", help="psnr: the best validation score, rising")
    parser.add_argument("--json", help="also write what is known of each run to this file")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    target = check_target(arguments.json) if arguments.json else None
    folders = list(dict.fromkeys(folder for name in arguments.runs for folder in run_folders(Path(name))))
    if not folders:
        raise InputError(f"no runs in {', '.join(arguments.runs)}; train.py makes them, with a config.yaml in each")
    summaries = sorted(map(summary, folders), key=SORTED_BY[arguments.sort])
    print(table([COLUMNS, *(run.row() for run in summaries)]))
    differing = differences({run.name: run.config for run in summaries})
    if len(summaries) > 1 and differing:
        shown = dict(list(differing.items())[:SETTINGS_SIDE_BY_SIDE])
        rows = [(key, *values) for key, values in shown.items()]
        print(f"\nsettings that differ\n{table([('', *(run.name for run in summaries)), *rows])}")
        if len(differing) > len(shown):
            print(f"and {len(differing) - len(shown)} more: {', '.join(list(differing)[len(shown) :])}")
    if target:
        with atomic_file(target) as temporary:
            temporary.write_text(json.dumps([asdict(run) for run in summaries], indent=1))
        print(f"wrote {target}")


def run_folders(path: Path) -> list[Path]:
    """`path` if it is the folder of a run, else those in it, by name; InputError when there is no such folder."""
    if not path.is_dir():
        raise InputError(f"no folder {path}; name the folder of a run, or one that holds runs")
    inner = [path] if (path / "config.yaml").is_file() else sorted(path.iterdir())
    return [folder for folder in inner if (folder / "config.yaml").is_file()]


def summary(folder: Path) -> RunSummary:
    """Read the files of the run in `folder`; InputError for damaged ones."""
    config = load_config(folder / "config.yaml")
    history = read_rows(folder / HISTORY)
    last = history[-1] if history else {}
    scored = [row for row in history if "psnr" in row]
    best = max(scored, key=lambda row: row["psnr"], default=None)
    return RunSummary(
        folder.name, config, is_locked(folder), int(last.get("epoch", 0)), int(last.get("step", 0)), last.get("loss"),
        scored[-1]["psnr"] if scored else None, best and best["psnr"], best and int(best["epoch"]),
        last.get("dead_units"), last.get("samples_per_second"), last.get("waiting_share"),
        sum(row.get("seconds", 0) for row in history),
    )  # fmt: skip


def differences(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """{dotted key: its value in each config, shortened} of every setting that is not the same in all."""
    flat = [dict(leaves(config)) for config in configs.values()]
    keys = dict.fromkeys(key for config in flat for key in config)
    values = {key: [config.get(key) for config in flat] for key in keys}
    return {
        key: [ABSENT if value is None else shortened(value) for value in each]
        for key, each in values.items()
        if any(value != each[0] for value in each)
    }


def text(value: float | None, form: str) -> str:
    return ABSENT if value is None else format(value, form)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side: the first to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first, *others = zip(row, widths, strict=True)
        lines.append("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
