"""Every limit in the table of docs/web.md is reached here, and answered with one line."""

import asyncio
import io
import logging
import re
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from types import ModuleType

import numpy as np
import pytest
from httpx import ASGITransport, AsyncClient
from PIL import Image
from starlette.testclient import TestClient

import web.drawing
import web.exports
import web.routes
import web.studio
import web.uploads
import web.worker
from tests.web.conftest import HOME, blobs, finished, opened, png_of
from utils.files import PROJECT
from utils.geometry.sizes import LARGEST_OUTPUT
from web.exports import Export
from web.server import create_app
from web.settings import Settings


def sent(content: bytes, settings: Settings | None = None, path: str = "/api/pictures?name=x.png") -> tuple[int, str]:
    """The answer to a file."""
    with TestClient(create_app(settings or Settings()), base_url=HOME) as client:
        answer = client.post(path, content=content)
        assert client.app.state.studio.budget.used == 0
        return answer.status_code, answer.text


def jpeg_of_scans(scans: int) -> bytes:
    """A progressive JPEG of that many, by repeating its last one without data."""
    stream = io.BytesIO()
    Image.fromarray(blobs(64, 80)).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    last = content[content.rindex(b"\xff\xda") :]
    header = last[: 2 + int.from_bytes(last[2:4], "big")]
    return content[:-2] + (header + bytes(4)) * scans + b"\xff\xd9"


def png_with(chunks: list[bytes]) -> bytes:
    content = png_of(blobs(8, 9))
    made = [
        struct.pack(">I", len(data)) + b"teST" + data + struct.pack(">I", zlib.crc32(b"teST" + data)) for data in chunks
    ]
    return content[:33] + b"".join(made) + content[33:]


async def _trickle(first: bytes, seconds: float) -> AsyncIterator[bytes]:
    while True:
        yield first
        await asyncio.sleep(seconds)


def trickled(settings: Settings, seconds: float, size: int = 10, beside: int = 1) -> tuple[int, str]:
    """The last answer to bodies that never end."""

    async def visit() -> tuple[int, str]:
        app = create_app(settings)
        async with app.router.lifespan_context(app), AsyncClient(transport=ASGITransport(app), base_url=HOME) as client:
            sending = [client.post("/api/pictures", content=_trickle(bytes(size), seconds)) for _ in range(beside)]
            answers = await asyncio.gather(*sending)
            assert app.state.studio.budget.used == 0
            assert app.state.studio.budget.highest <= settings.memory
            return max((answer.status_code, answer.text) for answer in answers)

    return asyncio.run(visit())


def asked(order: dict, times: int = 1) -> tuple[int, str]:
    """The last answer to orders of downloads."""
    with TestClient(create_app(Settings()), base_url=HOME) as client:
        name = opened(client, png_of(blobs(40, 52)))
        whole = {"width": 520, "height": 400, "ending": ".png", "model": "bicubic", **order}
        answers = [client.post(f"/api/pictures/{name}/exports", json=whole) for _ in range(times)]
        return answers[-1].status_code, answers[-1].text


def got(path: str) -> tuple[int, str]:
    with TestClient(create_app(Settings()), base_url=HOME) as client:
        answer = client.get(f"/api/pictures/{opened(client, png_of(blobs(40, 52)))}/{path}")
        return answer.status_code, answer.text


def forgotten(other_visitor: bool) -> tuple[int, str]:
    """The answer to a tile of a picture after one more picture, of the same or of another visitor."""
    with TestClient(create_app(Settings()), base_url=HOME) as client:
        name = opened(client, png_of(blobs(40, 52)))
        opened(TestClient(client.app, base_url=HOME) if other_visitor else client, png_of(blobs(40, 52)))
        answer = client.get(f"/api/pictures/{name}/tiles/0/0/0?model=nearest")
        return answer.status_code, answer.text


def second_download() -> tuple[int, str]:
    """The answer to the file of the first of two downloads."""
    with TestClient(create_app(Settings()), base_url=HOME) as client:
        name, order = opened(client, png_of(blobs(40, 52))), {"width": 9, "height": 9, "ending": ".png"}
        first, _ = (finished(client, client.post(f"/api/pictures/{name}/exports", json=order).json()) for _ in "ab")
        answer = client.get(f"/api/exports/{first['name']}/file")
        return answer.status_code, answer.text


def another_while_one_waits() -> tuple[int, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Export, "_step", lambda self: None)
        return asked({}, 2)


def large_in_little_memory() -> tuple[int, str]:
    if web.uploads.resource is None:
        pytest.skip("no such limits on this system")
    return sent(png_of(np.zeros((4000, 4000, 3), np.uint8)), Settings(memory=(1 << 30) + (200 << 20)))


SMALL = png_of(blobs(40, 52))
Reach = tuple[Callable[[], tuple[int, str]], ModuleType | None, float]
# What reaches a limit, and the module whose constant is smaller meanwhile, where it is too large for a test
REACHED: dict[str, Reach] = {
    "--max-megapixels": (lambda: sent(SMALL, Settings(pixels=2000)), None, 0),
    "--max-megabytes": (lambda: sent(bytes(2000), Settings(file_bytes=1000)), None, 0),
    "--memory": (lambda: sent(png_of(np.zeros((100, 200, 3), np.uint8)), Settings(memory=50_000)), None, 0),
    "LONGEST_SIDE": (lambda: sent(png_of(np.zeros((2, web.uploads.LONGEST_SIDE + 1), np.uint8))), None, 0),
    "SMALLEST_SIDE": (lambda: sent(png_of(np.zeros((9, 1), np.uint8))), None, 0),
    "MOST_SCANS": (lambda: sent(jpeg_of_scans(web.uploads.MOST_SCANS)), None, 0),
    "MOST_CHUNKS": (lambda: sent(png_with([b""] * web.uploads.MOST_CHUNKS)), None, 0),
    "MOST_ASIDE": (lambda: sent(png_with([bytes(web.uploads.MOST_ASIDE)])), None, 0),
    "MOST_PPM_HEADER": (lambda: sent(b"P6\n#" + b"x" * (1 << 16) + b"\n8 8\n255\n" + bytes(192)), None, 0),
    "DECODING_SECONDS": (lambda: sent(png_of(np.zeros((5000, 4000, 3), np.uint8))), web.uploads, 0),
    "DECODER_MEMORY": (large_in_little_memory, web.uploads, -(1 << 30)),
    "IDLE_SECONDS": (lambda: trickled(Settings(), 5), web.uploads, 0.05),
    "BODY_SECONDS": (lambda: trickled(Settings(), 0.01), web.uploads, 0.3),
    "ARRIVING_SHARE": (lambda: trickled(Settings(memory=400_000), 0.1, 40_000, 4), None, 0),
    "MOST_JSON": (lambda: asked({"matrix": "1" * web.uploads.MOST_JSON}), None, 0),
    "LARGEST_OUTPUT": (lambda: asked({"width": LARGEST_OUTPUT // 10, "height": 11}), None, 0),
    "MOST_RUNNING": (another_while_one_waits, web.exports, 1),
    "MOST_FILMS": (lambda: sent(b"x", path="/api/films?name=a.mp4"), web.routes, 0),
    "LARGEST_WINDOW": (lambda: got("warp.png?matrix=1,0,0,0,1,0,0,0,1&width=4097&height=4096"), None, 0),
    "LARGEST_LEVEL": (lambda: got("tiles/7/0/0?model=nearest"), None, 0),
    "SMALLEST_LEVEL": (lambda: got("tiles/-9/0/0?model=nearest"), None, 0),
    "MOST_WAITING": (lambda: got("tiles/0/0/0?model=nearest"), web.worker, 0),
    "MOST_SESSIONS": (lambda: forgotten(True), web.studio, 1),
    "MOST_PICTURES": (lambda: forgotten(False), web.studio, 1),
    "MOST_KEPT": (second_download, web.exports, 1),
}


def rows() -> list[tuple[str, str]]:
    """Limits and the statuses that their table says."""
    text = (PROJECT / "docs/web.md").read_text()
    return re.findall(r"^\| `([A-Z_]+|--[a-z-]+)` \| [^|]+ \| (\d{3}) \|$", text, re.MULTILINE)


@pytest.mark.parametrize("limit", REACHED)
def test_what_is_beyond_a_limit_is_one_line(monkeypatch, limit) -> None:
    reach, module, smaller = REACHED[limit]
    if module:
        monkeypatch.setattr(module, limit, smaller)
    status, text = reach()
    assert status == int(dict(rows())[limit]), text
    assert "\n" not in text
    assert "Traceback" not in text


def test_the_table_has_every_limit_that_is_reached() -> None:
    assert [name for name, _ in rows()] == list(REACHED)


def test_just_within_the_limits_pictures_open(client) -> None:
    opened(client, jpeg_of_scans(web.uploads.MOST_SCANS - 20))
    opened(client, png_with([b""] * (web.uploads.MOST_CHUNKS - 10)))
    opened(client, b"P6\n# one\n8 # two\n8\n255\n" + bytes(192))
    opened(client, b"P5 8 8 255\n" + b"0" * 64)


def test_a_visitor_who_leaves_is_no_fault(caplog) -> None:
    """Neither while sending, nor while waiting."""

    async def visit() -> list[dict]:
        app, said = create_app(Settings()), []
        messages = iter([{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}])
        scope = {"type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": "/api/pictures"}
        scope |= {"query_string": b"", "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1)}

        async def receive() -> dict:
            return next(messages)

        async def send(message: dict) -> None:
            said.append(message)

        async with app.router.lifespan_context(app):
            await app(scope, receive, send)
        return said

    with caplog.at_level(logging.INFO):
        said = asyncio.run(visit())
    assert said[0]["status"] == 499
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("error", "logged", "said"), [(MemoryError(), False, "memory"), (ZeroDivisionError(), True, "internal error")]
)
def test_faults_of_downloads_are_logged_and_those_of_memory_said(monkeypatch, caplog, error, logged, said) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Export, "_paint", fail)
    with TestClient(create_app(Settings()), base_url=HOME) as client:
        order = {"width": 9, "height": 9, "ending": ".png"}
        export = client.post(f"/api/pictures/{opened(client, png_of(blobs(40, 52)))}/exports", json=order).json()
        while export["state"] in ("waiting", "painting"):
            export = client.get(f"/api/exports/{export['name']}").json()
    assert said in export["error"]
    assert bool([record for record in caplog.records if record.exc_info]) == logged


def test_a_tile_that_memory_does_not_suffice_for_says_so(monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(web.studio.Studio, "draw", fail)
    status, text = got("tiles/0/0/0?model=nearest")
    assert status == 507
    assert "memory" in text


def test_names_of_downloads_are_distinct_and_the_call_names_the_same(client) -> None:
    name, order = opened(client, png_of(blobs(40, 52))), {"width": 9, "height": 9, "ending": ".png"}
    made = [client.post(f"/api/pictures/{name}/exports", json=order).json() for _ in range(2)]
    assert [export["file"] for export in made] == ["photo_9x9.png", "photo_9x9-2.png"]
    for export in made:
        assert export["command"].endswith(f"--output {export['file']}")
        finished(client, export)
