"""Compare training runs in one table: `python -m tools.runs`, or `python -m tools.runs save/a save/b`."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.folder import leaves
from training.report import HISTORY, duration, read_rows
from utils import cli
from utils.config import load_config
from utils.errors import InputError, shortened
from utils.files import is_locked

ABSENT = "-"
COLUMNS = (
    "run", "model", "epoch", "steps", "loss", "last PSNR", "best PSNR", "at", "dead units", "samples/s", "waiting",
    "trained",
)  # fmt: skip
SORTED_BY: dict[str, Callable[["Run"], Any]] = {
    "name": lambda run: run.name,
    "psnr": lambda run: run.best.get("psnr", -math.inf),
    "loss": lambda run: run.last.get("loss", math.inf),
    "time": lambda run: run.seconds,
}
SETTINGS_SIDE_BY_SIDE = 12  # more differing settings are only counted


@dataclass(frozen=True)
class Run:
    """The config of a run, and the rows of its history."""

    name: str
    config: Mapping[str, Any]
    running: bool
    history: Sequence[Mapping[str, float]]

    @property
    def last(self) -> Mapping[str, float]:
        return self.history[-1] if self.history else {}

    @property
    def scored(self) -> list[Mapping[str, float]]:
        return [row for row in self.history if "psnr" in row]

    @property
    def best(self) -> Mapping[str, float]:
        return max(self.scored, key=lambda row: row["psnr"], default={})

    @property
    def seconds(self) -> float:
        return sum(row.get("seconds", 0) for row in self.history)

    def row(self) -> tuple[str, ...]:
        """A text for each of COLUMNS."""
        whole, epoch = self.config.get("epoch_max"), int(self.last.get("epoch", 0))
        state = " running" if self.running else " done" if epoch == whole else ""
        last_scored = self.scored[-1] if self.scored else {}
        figures = (
            (self.last, "loss", ".5f"), (last_scored, "psnr", ".3f"), (self.best, "psnr", ".3f"),
            (self.best, "epoch", ".0f"), (self.last, "dead_units", ".0%"), (self.last, "samples_per_second", ".3g"),
            (self.last, "waiting_share", ".0%"),
        )  # fmt: skip
        return (
            self.name,
            str((self.config.get("model") or {}).get("name", ABSENT)),
            f"{epoch}/{whole}{state}",
            f"{self.last.get('step', 0):.0f}",
            *(ABSENT if row.get(key) is None else format(row[key], form) for row, key, form in figures),
            duration(self.seconds) if self.seconds else ABSENT,
        )


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(prog="tools.runs", description="Compare training runs in one table, with what differs in them.")
    parser.add_argument("runs", nargs="*", default=["save"], help="folders of runs, or folders that hold some")
    parser.add_argument("--sort", choices=SORTED_BY, default="name", help="psnr: the best validation score, rising")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    folders = dict.fromkeys(folder for name in arguments.runs for folder in run_folders(Path(name)))
    if not folders:
        raise InputError(f"no runs in {', '.join(arguments.runs)}; train.py makes them, with a config.yaml in each")
    runs = sorted(map(read_run, folders), key=SORTED_BY[arguments.sort])
    print(table([COLUMNS, *(run.row() for run in runs)]))
    differing = list(differences([run.config for run in runs]).items())
    if differing:
        rows = [(key, *values) for key, values in differing[:SETTINGS_SIDE_BY_SIDE]]
        print(f"\nsettings that differ\n{table([('', *(run.name for run in runs)), *rows])}")
    if more := [key for key, _ in differing[SETTINGS_SIDE_BY_SIDE:]]:
        print(f"and {len(more)} more: {', '.join(more)}")


def run_folders(path: Path) -> list[Path]:
    """`path` if it is the folder of a run, else those in it, by name; InputError when there is no such folder."""
    if not path.is_dir():
        raise InputError(f"no folder {path}; name the folder of a run, or one that holds runs")
    inner = [path] if (path / "config.yaml").is_file() else sorted(path.iterdir())
    return [folder for folder in inner if (folder / "config.yaml").is_file()]


def read_run(folder: Path) -> Run:
    """The run in `folder`; InputError for damaged files."""
    return Run(folder.name, load_config(folder / "config.yaml"), is_locked(folder), read_rows(folder / HISTORY))


def differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """{dotted key: its value in each config, shortened} of every setting that is not the same in all."""
    flat = [dict(leaves(config)) for config in configs]
    keys = dict.fromkeys(key for config in flat for key in config)
    values = {key: [config.get(key) for config in flat] for key in keys}
    return {
        key: [ABSENT if value is None else shortened(value) for value in each]
        for key, each in values.items()
        if any(value != each[0] for value in each)
    }


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
