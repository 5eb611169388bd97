"""`continua upscale | train | test | app`: demo.py, train.py, test.py and app.py of the installed package."""

import sys

from utils import cli

COMMANDS = ("upscale", "train", "test", "app")


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command not in COMMANDS:
        wanted = command in ("-h", "--help")
        print(f"usage: continua {' | '.join(COMMANDS)} ...; continua COMMAND --help says more", file=sys.stderr)
        sys.exit(0 if wanted else 2)
    del sys.argv[1]
    if command == "upscale":
        from demo import main as program
    elif command == "train":
        from train import main as program
    elif command == "test":
        from test import main as program
    else:
        from app import main as program
    cli.run(program)


if __name__ == "__main__":
    main()
