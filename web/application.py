"""The server: who may ask, how answers and mistakes are sent, when the worker ends."""

import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from utils.errors import InputError, one_line
from utils.system import is_memory_error
from web.catalogue import Catalogue
from web.errors import Refused
from web.routes import make_router
from web.settings import STATIC, Settings, is_loopback
from web.studio import Studio, Visitor
from web.worker import Worker

SESSION, TOKEN = "continua_session", "continua_token"  # and the port: cookies of a host are those of all its ports
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LOCKED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Continua</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/static/style.css">
<main class="locked"><h1>Continua</h1><form method="get" action="/">
<label for="token">Token of this server</label>
<input id="token" name="token" type="password" autocomplete="current-password" required>
<button class="primary">Open</button></form></main></html>"""


class Gate:
    """Around the application: refuses foreign hosts and origins, asks for the token, and knows sessions by cookie."""

    def __init__(self, app: ASGIApp, studio: Studio):
        self.app, self.studio = app, studio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        settings = self.studio.settings
        cookies, port = _cookies(request), _port(request)
        given = cookies.get(SESSION + port)
        visitor = Visitor(self.studio, given)
        added: dict[str, str] = {}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                if visitor.name not in (None, given):
                    added["Set-Cookie"] = _cookie(SESSION + port, visitor.name)
                message["headers"] = [
                    *message["headers"],
                    *((name.lower().encode(), value.encode()) for name, value in (HEADERS | added).items()),
                ]
            await send(message)

        if refusal := _refusal(request, settings):
            await JSONResponse({"error": refusal}, 403)(scope, receive, answer)
            return
        public = request.url.path.startswith("/static/")
        if settings.token and not public:
            shown = parse_qs(request.url.query).get("token", [""])[0]
            if request.url.path == "/" and _equal(shown, settings.token):
                added["Set-Cookie"] = _cookie(TOKEN + port, settings.token)
                await RedirectResponse("/", 303)(scope, receive, answer)
                return
            if not _equal(cookies.get(TOKEN + port, ""), settings.token):
                page = request.url.path == "/"
                refused = {"error": "this server asks for its token; open the page anew"}
                response = HTMLResponse(LOCKED, 401) if page else JSONResponse(refused, 401)
                await response(scope, receive, answer)
                return
        scope.setdefault("state", {})["visitor"] = visitor
        await self.app(scope, receive, answer)


def _cookies(request: Request) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(request.headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def _port(request: Request) -> str:
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"_{port}" if port.isdecimal() and port.isascii() else ""


def _cookie(name: str, value: str) -> str:
    cookie: SimpleCookie = SimpleCookie({name: value})
    cookie[name].update({"path": "/", "httponly": True, "samesite": "Strict"})
    return cookie[name].OutputString()


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _refusal(request: Request, settings: Settings) -> str | None:
    """Why a request is not answered at all: another page's, or a foreign name for this machine (DNS rebinding)."""
    host = request.headers.get("host", "")
    name = urlsplit(f"//{host}").hostname or ""
    if is_loopback(settings.host) and not is_loopback(name):
        return "this page is served to this machine only, as 127.0.0.1 or localhost"
    origin = request.headers.get("origin")
    if origin is not None and request.method not in ("GET", "HEAD") and urlsplit(origin).netloc != host:
        return "requests of other pages are not answered"
    if request.headers.get("sec-fetch-site") == "cross-site" and request.url.path.startswith("/api/"):
        return "requests of other pages are not answered"
    return None


def create_app(settings: Settings, catalogue: Catalogue | None = None) -> FastAPI:
    """The application; its worker ends with it."""
    studio, worker = Studio(settings, catalogue), Worker()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        worker.stop()

    app = FastAPI(title="Continua", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.studio = studio

    @app.exception_handler(InputError)
    async def mistake(_: Request, error: InputError) -> JSONResponse:
        if not isinstance(error, Refused):
            return JSONResponse({"error": one_line(str(error))}, 422)
        missing = {"missing": error.missing} if error.missing else {}
        return JSONResponse({"error": one_line(str(error)), **missing}, error.status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"error": one_line(f"{first['loc'][-1]}: {first['msg']}")}, 422)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code)

    @app.exception_handler(Exception)
    async def fault(_: Request, error: Exception) -> JSONResponse:
        if is_memory_error(error):
            return JSONResponse({"error": "the memory does not suffice; choose a smaller picture or size"}, 507)
        logging.getLogger("uvicorn.error").error("fault", exc_info=error)
        return JSONResponse({"error": "an internal error; see the server's log"}, 500)

    app.include_router(make_router(studio, worker))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Gate, studio=studio)
    return app
