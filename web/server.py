"""The server: who may ask, how answers and mistakes are sent, and listening until it is interrupted."""

import asyncio
import hashlib
import hmac
import secrets
import socket
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from utils.errors import InputError, one_line
from web.routes import make_router
from web.settings import STATIC, Refused, Settings
from web.studio import Studio
from web.worker import Worker

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HEADER_SECONDS = 10  # in which the headers of a request arrive
MOST_CONNECTIONS = 1000
UNREAD = (408, 413, 503)  # statuses that may leave some of a body unread: what still comes is not waited for
LOCKED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Continua</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="static/style.css">
<main class="locked"><h1>Continua</h1><form method="get" action="./">
<label for="token">Token of this server</label>
<input id="token" name="token" type="password" autocomplete="current-password" required>
<button class="primary">Open</button></form></main></html>"""


class Gate:
    """Around the routes: knows the path that a proxy shows, refuses requests of other pages, and asks for the token."""

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        root = self.settings.root
        if root and not f"{scope['path']}/".startswith(f"{root}/"):  # a proxy may pass the path on with or without it
            scope["path"] = root + scope["path"]
        scope["root_path"] = root

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = ((name.lower().encode(), value.encode()) for name, value in HEADERS.items())
                message["headers"] = [*message["headers"], *added]
            await send(message)

        response = self._refusal(Request(scope), scope["path"].removeprefix(root))
        await (response or self.app)(scope, receive, answer)

    def _refusal(self, request: Request, path: str) -> Response | None:
        """The answer to a request that does not reach the routes."""
        settings, origin = self.settings, request.headers.get("origin")
        if not path:
            return RedirectResponse(f"{settings.root}/", 308)
        foreign = request.headers.get("sec-fetch-site") == "cross-site" and path.startswith("/api/")
        if origin is not None and request.method not in ("GET", "HEAD"):
            foreign |= not settings.is_own_origin(origin, request.headers.get("host", ""))
        if foreign:
            return JSONResponse({"error": "requests of other pages are not answered"}, 403)
        if not settings.token or path.startswith("/static/"):
            return None
        if path == "/" and _equal(request.query_params.get("token", ""), settings.token):
            request.session["token"] = True
            return RedirectResponse(f"{settings.root}/", 303)
        if request.session.get("token"):
            return None
        if path == "/":
            return HTMLResponse(LOCKED, 401)
        return JSONResponse({"error": "this server asks for its token; open the page anew"}, 401)


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def create_app(settings: Settings) -> FastAPI:
    """The application; its worker ends with it."""
    studio, worker = Studio(settings), Worker()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        studio.end()
        worker.stop()

    app = FastAPI(title="Continua", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.studio = studio

    @app.exception_handler(InputError)
    async def mistake(_: Request, error: InputError) -> JSONResponse:
        if not isinstance(error, Refused):
            return JSONResponse({"error": one_line(str(error))}, 422)
        missing = {"missing": error.missing} if error.missing else {}
        closed = {"Connection": "close"} if error.status in UNREAD else {}
        return JSONResponse({"error": one_line(str(error)), **missing}, error.status, closed)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"error": one_line(f"{first['loc'][-1]}: {first['msg']}")}, 422)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code)

    @app.exception_handler(ClientDisconnect)
    async def left(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it, and it is no fault

    @app.exception_handler(Exception)
    async def fault(_: Request, error: Exception) -> JSONResponse:  # uvicorn logs it
        return JSONResponse({"error": "an internal error; see the server's log"}, 500)

    app.include_router(make_router(studio, worker))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Gate, settings=settings)
    # Visitors who have given the token are known after a restart, too. Cookies of a host are those of all its ports
    secret = hashlib.sha256(settings.token.encode()).hexdigest() if settings.token else secrets.token_hex()
    app.add_middleware(
        SessionMiddleware,
        secret_key=secret,
        session_cookie=f"continua_{settings.port}",
        max_age=None,
        path=f"{settings.root}/",
        same_site="strict",
        https_only=bool(settings.public_url) and settings.public_url.startswith("https:"),
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=settings.hosts, www_redirect=False)
    return app


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
    settings = replace(settings, port=listening.getsockname()[1])
    public = f", behind a proxy {settings.public_url}" if settings.public_url else ""
    say(f"Continua: {settings.address} (Ctrl-C ends it{public})")
    if open_browser:
        webbrowser.open(settings.address + (f"?token={settings.token}" if settings.token else ""))
    server_of(create_app(settings)).run(sockets=[listening])


def server_of(app: FastAPI) -> uvicorn.Server:
    """What answers for the application on sockets."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=TimedProtocol,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            limit_concurrency=MOST_CONNECTIONS,
        )
    )


class TimedProtocol(H11Protocol):
    """HTTP/1.1, closed where a request's headers do not arrive within HEADER_SECONDS."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._late:
            self._late.cancel()

    def _await_headers(self) -> None:
        awaited = self.cycle is None or self.cycle.response_complete
        if awaited and not self._late:
            self._late = self.loop.call_later(HEADER_SECONDS, self.transport.close)
        elif self._late and not awaited:
            self._late.cancel()
            self._late = None
