"""A page to look at pictures, zoom without end, compare and warp: `python app.py --open`."""

import argparse
import importlib.util
import os
import signal
from collections.abc import Sequence
from typing import Any

from utils import cli, system
from utils.errors import InputError
from web.settings import Settings


def parse_arguments(argv: Sequence[str] | None) -> Any:
    parser = cli.Parser(description="Serve a page to compare, zoom and warp pictures in the browser.")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; others than this machine's need --token"
    )
    parser.add_argument("--port", type=port, default=8000, help="0: any that is free")
    parser.add_argument(
        "--token",
        default=os.environ.get("CONTINUA_TOKEN"),
        metavar="TEXT",
        help="that visitors have to give, from 12 characters (default: CONTINUA_TOKEN of the environment)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--memory", type=cli.positive, default=2, metavar="GIB", help="for pictures and all that is kept of them"
    )
    parser.add_argument(
        "--max-megapixels",
        type=cli.positive,
        metavar="N",
        help="of a picture that is sent (default: 26 for each GiB of --memory; on 127.0.0.1 at least 50)",
    )
    parser.add_argument("--max-megabytes", type=cli.positive, default=64, metavar="N", help="of a file that is sent")
    parser.add_argument(
        "--public-url", metavar="URL", help="where a proxy shows the page to others, such as https://host/path/"
    )
    parser.add_argument("--threads", type=cli.count, metavar="N", help="that compute (default: one a core)")
    cli.add_options(parser, "backend")
    return parser.parse_args(argv)


def port(text: str) -> int:
    """A port's number."""
    value = cli.seed(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, not '{text}'")
    return value


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    settings = Settings(
        host=arguments.host,
        port=arguments.port,
        token=arguments.token,
        memory=int(arguments.memory * 2**30),
        pixels=arguments.max_megapixels and int(arguments.max_megapixels * 1e6),
        file_bytes=int(arguments.max_megabytes * 2**20),
        backend=arguments.backend,
        public_url=arguments.public_url,
    )
    for package in ("fastapi", "uvicorn", "itsdangerous"):
        if importlib.util.find_spec(package) is None:
            raise InputError("the page needs more packages: pip install fastapi uvicorn itsdangerous, or run make web")
    system.settle_threads(arguments.threads)
    from web.server import serve

    serve(settings, lambda line: print(line, flush=True), arguments.open)


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.run(main)
