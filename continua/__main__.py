"""`continua upscale | train | test | app`: demo.py, train.py, test.py and app.py of the installed package."""

import importlib
import sys

from continua import __version__
from utils import cli

COMMANDS = {"upscale": "demo", "train": "train", "test": "test", "app": "app"}
PLACE = cli.__name__.removesuffix("utils.cli")  # of the programs, which an installed package holds below itself


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "--version":
        print(__version__)
        return
    if command not in COMMANDS:
        print(f"usage: continua {' | '.join(COMMANDS)} ...; continua COMMAND --help says more", file=sys.stderr)
        sys.exit(0 if command in ("-h", "--help") else 2)
    sys.argv[:2] = [f"continua {command}"]
    cli.run(importlib.import_module(PLACE + COMMANDS[command]).main)


if __name__ == "__main__":
    main()
