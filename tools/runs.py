"""Compare training runs in one table: `python -m tools.runs`, or `python -m tools.runs save/a save/b`."""

from collections.abc import Mapping, Sequence
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
SETTINGS_SIDE_BY_SIDE = 12  # more differing settings are only counted


@dataclass(frozen=True)
class Run:
    """The config of a run, its texts {heading: cell} in the table, and its best PSNR, 0 without any."""

    config: Mapping[str, Any]
    cells: Mapping[str, str]
    best: float


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(description="Compare training runs in one table, with what differs in them.")
    parser.add_argument("runs", nargs="*", default=["save"], help="folders of runs, or folders that hold some")
    parser.add_argument("--sort", choices=("name", "psnr"), default="name", help="psnr: the best one, rising")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    folders = dict.fromkeys(folder for name in arguments.runs for folder in run_folders(Path(name)))
    if not folders:
        raise InputError(f"no runs in {', '.join(arguments.runs)}; train.py makes them, with a config.yaml in each")
    by_psnr = arguments.sort == "psnr"
    runs = sorted(map(read_run, folders), key=lambda run: run.best if by_psnr else run.cells["run"])
    print(table([list(runs[0].cells), *(list(run.cells.values()) for run in runs)]))
    differing = list(differences([run.config for run in runs]).items())
    if differing:
        rows = [(key, *values) for key, values in differing[:SETTINGS_SIDE_BY_SIDE]]
        print(f"\nsettings that differ\n{table([('', *(run.cells['run'] for run in runs)), *rows])}")
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
    config, history = load_config(folder / "config.yaml"), read_rows(folder / HISTORY)
    last, scored = history[-1] if history else {}, [row for row in history if "psnr" in row]
    best = max(scored, key=lambda row: row["psnr"], default={})
    whole, epoch = config.get("epoch_max"), int(last.get("epoch", 0))
    state = " running" if is_locked(folder) else " done" if epoch == whole else ""
    seconds = sum(row.get("seconds", 0) for row in history)

    def figure(row: Mapping[str, float], key: str, form: str) -> str:
        return ABSENT if row.get(key) is None else format(row[key], form)

    cells = {
        "run": folder.name,
        "model": str((config.get("model") or {}).get("name", ABSENT)),
        "epoch": f"{epoch}/{whole}{state}",
        "steps": f"{last.get('step', 0):.0f}",
        "loss": figure(last, "loss", ".5f"),
        "last PSNR": figure(scored[-1] if scored else {}, "psnr", ".3f"),
        "best PSNR": figure(best, "psnr", ".3f"),
        "at": figure(best, "epoch", ".0f"),
        "dead units": figure(last, "dead_units", ".0%"),
        "samples/s": figure(last, "samples_per_second", ".3g"),
        "waiting": figure(last, "waiting_share", ".0%"),
        "trained": duration(seconds) if seconds else ABSENT,
    }
    return Run(config, cells, best.get("psnr", 0.0))


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
