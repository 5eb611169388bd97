"""What the browser may ask for, and what it is answered."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Annotated, Any
from urllib.parse import quote

import anyio
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response

from models.zoo import DEFAULT
from painting.jobs import READ
from pictures.formats import WRITTEN
from pictures.reading import list_pictures
from utils.geometry.homographies import Homography
from utils.geometry.matrices import matrix_of
from utils.geometry.sizes import parse_scale
from utils.system import is_memory_error
from web.exports import ENDINGS, Export, Order, start
from web.films import FILM_IDLE, MOST_FILMS, Film
from web.settings import SAMPLES, STATIC, Refused, is_loopback, missing
from web.studio import LARGEST_LEVEL, REFERENCE, Session, Studio
from web.uploads import MOST_DECODERS, MOST_JSON, Bodies, Upload, decode_apart
from web.worker import ENCODE, SCORE, WARP, Worker
from web.worker import TILE as TILE_WORK

MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp", ".tif": "image/tiff", ".mp4": "video/mp4"}
SHRINKS = (1, 2, 3, 4, 6, 8)
KEPT = {"Cache-Control": "private, max-age=3600, immutable"}


def make_router(studio: Studio, worker: Worker) -> APIRouter:
    """Routes of the page; every one under /api works on the pictures of the request's session only."""
    router = APIRouter()
    settings, bodies = studio.settings, Bodies(studio.budget)
    films: list[Film] = []
    decoders = anyio.CapacityLimiter(MOST_DECODERS)

    def session_of(request: Request) -> Session:
        """The visitor's session, or an empty one: only what opens the page or a picture begins one. Of many requests at
        once with a cookie that this server does not know, each would otherwise be answered with a session of its own,
        and the last answer would take away the picture that was opened after the first."""
        return studio.session(request.session.get("visitor")) or Session()

    async def shown(request: Request, picture: str) -> Upload:
        return studio.upload(session_of(request), picture)

    Shown = Annotated[Upload, Depends(shown)]

    async def ordered(request: Request, export: str) -> Export | Film:
        exports = session_of(request).exports
        if export not in exports:
            raise missing("download")
        return exports[export]

    Ordered = Annotated[Export | Film, Depends(ordered)]

    def begin(request: Request) -> Session:
        session = studio.session(request.session.get("visitor"))
        if session is None:
            request.session["visitor"], session = studio.begin()
        return session

    async def compute(request: Request, priority: tuple[int, ...], call: Callable[[], Any]) -> Any:
        try:
            return await worker.run(priority, call, lambda: left(request))
        except Exception as error:
            if is_memory_error(error):
                raise Refused("there is not enough memory; choose a smaller picture or size", 507) from None
            raise

    async def decode(content: bytes, name: str, shrink: int = 1) -> Upload:
        return await anyio.to_thread.run_sync(decode_apart, content, name, settings, shrink, limiter=decoders)

    async def asked(request: Request) -> dict[str, Any]:
        """The request's JSON object; Refused for anything else."""
        async with bodies.received(request, MOST_JSON) as content:
            try:
                found = json.loads(content)
            except (ValueError, RecursionError):
                found = None
        if not isinstance(found, dict):
            raise Refused("expected a JSON object", 422)
        return found

    def described(name: str, upload: Upload) -> dict[str, Any]:
        height, width = upload.picture.size
        return {
            "picture": name,
            "name": upload.name,
            "width": width,
            "height": height,
            "channels": upload.picture.channels,
            "depth": upload.picture.pixel_format.depth,
            "notes": list(upload.picture.losses),
            "reference": upload.reference is not None,
            "made": upload.is_made,
            "version": upload.turn,
        }

    async def opened(request: Request, content: bytes, name: str, shrink: int, path: str = "") -> dict[str, Any]:
        if shrink not in SHRINKS:
            raise Refused(f"shrink is one of {', '.join(map(str, SHRINKS))}", 422)
        upload = await decode(content, name, shrink)
        if path and shrink == 1:
            upload = replace(upload, path=path)
        return described(studio.add(begin(request), upload), upload)

    # First, for routes are tried in turn, and nothing else is asked for so often
    @router.get("/api/pictures/{picture}/tiles/{level}/{column}/{row}")
    async def tile(
        request: Request,
        upload: Shown,
        picture: str,
        level: int,
        column: int,
        row: int,
        model: str = DEFAULT,
        other: str | None = None,
    ) -> Response:
        models = (model,) if other is None else (model, other)
        for name in models:
            if name != REFERENCE:
                studio.models.check(name)
        far = settings.public_url or request.client is None or not is_loopback(request.client.host)
        content = await compute(
            request, (TILE_WORK, level), lambda: studio.tile(picture, upload, models, level, column, row, bool(far))
        )
        return Response(content, media_type="image/png", headers=KEPT)

    @router.get("/")
    def index(request: Request) -> FileResponse:
        begin(request)
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    @router.get("/api/catalogue")
    def catalogue() -> dict[str, Any]:
        return {
            "models": [{"name": name, "label": label} for name, label in studio.models.labels().items()],
            "model": DEFAULT,
            "samples": [path.name for path in list_pictures(SAMPLES)] if SAMPLES.is_dir() else [],
            "endings": [ending for ending in ENDINGS if ending in WRITTEN],
            "films": sorted(READ),
            "shrinks": SHRINKS,
            "largest_level": LARGEST_LEVEL,
            "megapixels": settings.pixels / 1e6,
            "megabytes": settings.file_bytes / 2**20,
        }

    @router.post("/api/pictures")
    async def upload(request: Request, name: str = "picture", shrink: int = 1) -> dict[str, Any]:
        async with bodies.received(request, settings.file_bytes) as content:
            return await opened(request, content, name, shrink)

    @router.post("/api/samples/{sample}")
    async def open_sample(request: Request, sample: str, shrink: int = 1) -> dict[str, Any]:
        content = await run_in_threadpool(sample_of(sample).read_bytes)
        return await opened(request, content, sample, shrink, f"load/samples/{sample}")

    @router.get("/api/samples/{sample}")
    def show_sample(sample: str) -> FileResponse:
        return FileResponse(sample_of(sample), headers=KEPT)

    @router.get("/api/pictures/{picture}")
    def describe(upload: Shown, picture: str) -> dict[str, Any]:
        return described(picture, upload)

    @router.put("/api/pictures/{picture}/reference")
    async def set_reference(request: Request, _: Shown, picture: str, name: str = "reference") -> dict[str, Any]:
        session = session_of(request)
        async with bodies.received(request, settings.file_bytes) as content:
            reference = await decode(content, name)
        studio.set_reference(session, picture, reference)
        return described(picture, studio.upload(session, picture))

    @router.delete("/api/pictures/{picture}", status_code=204)
    def close(request: Request, picture: str) -> None:
        studio.close(session_of(request), picture)

    @router.post("/api/pictures/{picture}/encode")
    async def encode(request: Request, upload: Shown, picture: str, model: str = DEFAULT) -> dict[str, bool]:
        await compute(request, (ENCODE,), lambda: studio.encode(picture, upload, model))
        return {"encoded": True}

    @router.get("/api/pictures/{picture}/input.png")
    async def show_input(request: Request, upload: Shown, picture: str) -> Response:
        content = await compute(request, (WARP,), lambda: studio.input(upload))
        return attachment(content, f"{upload.name.rpartition('.')[0] or upload.name}.png")

    @router.get("/api/pictures/{picture}/warp.png")
    async def warp(
        request: Request, upload: Shown, picture: str, matrix: str, width: int, height: int, model: str = DEFAULT
    ) -> Response:
        homography = Homography(matrix_of(matrix, reads_files=False))
        content = await compute(
            request, (WARP,), lambda: studio.warp(picture, upload, model, homography, (height, width))
        )
        return Response(content, media_type="image/png", headers={"Cache-Control": "no-store"})

    @router.get("/api/pictures/{picture}/scores")
    async def scores(
        request: Request,
        upload: Shown,
        picture: str,
        model: str,
        left: float = 0,
        top: float = 0,
        right: float = 1,
        bottom: float = 1,
    ) -> dict[str, Any]:
        if not all(map(math.isfinite, (left, top, right, bottom))):
            raise Refused("the part to measure is four finite numbers", 422)
        part = (left, top, right, bottom)
        return await compute(request, (SCORE,), lambda: studio.scores(picture, upload, model, part))

    @router.post("/api/pictures/{picture}/exports")
    async def start_export(request: Request, _: Shown, picture: str) -> dict[str, Any]:
        order = Order.of(picture, await asked(request))
        return start(studio, worker, session_of(request), order).describe()

    @router.post("/api/pictures/{picture}/command")
    async def command(request: Request, upload: Shown, picture: str) -> dict[str, str]:
        order = Order.of(picture, await asked(request))
        studio.models.check(order.request.model)
        return {"command": order.command(upload, order.file_name(upload))}

    @router.post("/api/films")
    async def start_film(request: Request, name: str, model: str = DEFAULT, scale: str = "2") -> dict[str, Any]:
        studio.models.check(model)
        factors = parse_scale(scale)
        async with bodies.received(request, settings.file_bytes) as content:
            for film in films:
                if film.state == "painting" and monotonic() - film.asked > FILM_IDLE:
                    film.cancel()
            films[:] = [film for film in films if film.state == "painting"]
            if len(films) >= MOST_FILMS:
                raise Refused("another film is being made; try again when it is done", 429)
            film = Film(content, name, model, factors, settings.memory)
        films.append(film)
        begin(request).exports[film.name] = film
        return film.describe()

    @router.get("/api/exports/{export}")
    def export_state(export: Ordered) -> dict[str, Any]:
        return export.describe()

    @router.get("/api/exports/{export}/file")
    def export_file(export: Ordered) -> Response:
        return attachment(export.content(), export.file)

    @router.delete("/api/exports/{export}", status_code=204)
    def cancel_export(export: Ordered) -> None:
        export.cancel()

    return router


async def left(request: Request) -> None:
    """Ends when the client has gone; called when the request's body, if any, has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def sample_of(name: str) -> Path:
    """The file of a sample; Refused (404) for another name."""
    known = {path.name: path for path in list_pictures(SAMPLES)}
    if name not in known:
        raise missing("sample")
    return known[name]


def attachment(content: bytes, name: str) -> Response:
    """A file for the browser to save."""
    ending = "." + name.rpartition(".")[2]
    disposition = f"attachment; filename*=UTF-8''{quote(name)}"
    return Response(content, media_type=MEDIA[ending], headers={"Content-Disposition": disposition})
