"""Serving the page until it is interrupted."""

import socket
import webbrowser
from collections.abc import Callable

import uvicorn

from utils.errors import InputError
from web.application import create_app
from web.settings import Settings


def serve(settings: Settings, say: Callable[[str], None], open_browser: bool = False) -> None:
    """Listen, `say` the address, and answer until SIGINT or SIGTERM. InputError where nothing can listen."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(socket.SOMAXCONN)  # who comes before the server has begun waits
    except OSError as error:
        listening.close()
        raise InputError(
            f"cannot listen on {settings.host}, port {settings.port}: {error.strerror}; choose another --port or --host"
        ) from None
    config = uvicorn.Config(
        create_app(settings), log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2
    )
    port = listening.getsockname()[1]
    address = Settings(**{**vars(settings), "port": port}).address
    say(f"Continua: {address} (Ctrl-C ends it)")
    if open_browser:
        webbrowser.open(address + (f"?token={settings.token}" if settings.token else ""))
    uvicorn.Server(config).run(sockets=[listening])
