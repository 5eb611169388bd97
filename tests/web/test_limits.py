"""Every limit in the table of docs/web.md is reached here, and answered with one line."""

import asyncio
import io
import logging
import re
import struct
import zlib
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from httpx import ASGITransport, AsyncClient
from PIL import Image
from starlette.testclient import TestClient

import web.drawing
import web.exports
import web.studio
import web.uploads
import web.worker
from tests.web.conftest import HOME, blobs, finished, opened, png_of
from utils.files import PROJECT
from utils.geometry.sizes import LARGEST_OUTPUT
from web.exports import Export
from web.server import create_app
from web.settings import Settings

Reach = Callable[[pytest.MonkeyPatch], tuple[int, str]]
REACHED: dict[str, Reach] = {}


def reaches(name: str) -> Callable[[Reach], Reach]:
    return lambda function: REACHED.setdefault(name, function)


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


@reaches("--max-megapixels")
def _(_) -> tuple[int, str]:
    return sent(png_of(blobs(40, 52)), Settings(pixels=2000))


@reaches("--max-megabytes")
def _(_) -> tuple[int, str]:
    return sent(bytes(2000), Settings(file_bytes=1000))


@reaches("--memory")
def _(_) -> tuple[int, str]:
    return sent(png_of(np.zeros((100, 200, 3), np.uint8)), Settings(memory=50_000))


@reaches("LONGEST_SIDE")
def _(_) -> tuple[int, str]:
    return sent(png_of(np.zeros((2, web.uploads.LONGEST_SIDE + 1), np.uint8)))


@reaches("SMALLEST_SIDE")
def _(_) -> tuple[int, str]:
    return sent(png_of(np.zeros((9, 1), np.uint8)))


@reaches("MOST_SCANS")
def _(_) -> tuple[int, str]:
    return sent(jpeg_of_scans(web.uploads.MOST_SCANS))


@reaches("MOST_CHUNKS")
def _(_) -> tuple[int, str]:
    return sent(png_with([b""] * web.uploads.MOST_CHUNKS))


@reaches("MOST_ASIDE")
def _(_) -> tuple[int, str]:
    return sent(png_with([bytes(web.uploads.MOST_ASIDE)]))


@reaches("MOST_PPM_HEADER")
def _(_) -> tuple[int, str]:
    return sent(b"P6\n#" + b"x" * web.uploads.MOST_PPM_HEADER + b"\n8 8\n255\n" + bytes(192))


@reaches("DECODING_SECONDS")
def _(monkeypatch) -> tuple[int, str]:
    monkeypatch.setattr(web.uploads, "DECODING_SECONDS", 0)
    return sent(png_of(blobs(40, 52)))


@reaches("DECODER_MEMORY")
def _(monkeypatch) -> tuple[int, str]:
    if web.uploads.resource is None:
        pytest.skip("no such limits on this system")
    monkeypatch.setattr(web.uploads, "DECODER_MEMORY", -(1 << 30))
    return sent(png_of(np.zeros((4000, 4000, 3), np.uint8)), Settings(memory=(1 << 30) + (200 << 20)))


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


@reaches("IDLE_SECONDS")
def _(monkeypatch) -> tuple[int, str]:
    monkeypatch.setattr(web.uploads, "IDLE_SECONDS", 0.05)
    return trickled(Settings(), 5)


@reaches("BODY_SECONDS")
def _(monkeypatch) -> tuple[int, str]:
    monkeypatch.setattr(web.uploads, "BODY_SECONDS", 0.3)
    return trickled(Settings(), 0.01)


@reaches("ARRIVING_SHARE")
def _(monkeypatch) -> tuple[int, str]:
    monkeypatch.setattr(web.uploads, "IDLE_SECONDS", 0.5)
    return trickled(Settings(memory=400_000), 5, 40_000, 4)


@reaches("MOST_JSON")
def _(_) -> tuple[int, str]:
    return asked({"matrix": "1" * web.uploads.MOST_JSON})


def asked(order: dict, times: int = 1) -> tuple[int, str]:
    """The last answer to orders of downloads."""
    with TestClient(create_app(Settings()), base_url=HOME) as client:
        name = opened(client, png_of(blobs(40, 52)))
        whole = {"width": 520, "height": 400, "ending": ".png", "model": "bicubic", **order}
        answers = [client.post(f"/api/pictures/{name}/exports", json=whole) for _ in range(times)]
        return answers[-1].status_code, answers[-1].text


@reaches("LARGEST_OUTPUT")
def _(_) -> tuple[int, str]:
    return asked({"width": LARGEST_OUTPUT // 10, "height": 11})


@reaches("MOST_RUNNING")
def _(monkeypatch) -> tuple[int, str]:
    monkeypatch.setattr(Export, "_step", lambda self: None)
    return asked({}, web.exports.MOST_RUNNING + 1)


def got(path: str) -> tuple[int, str]:
    with TestClient(create_app(Settings()), base_url=HOME) as client:
        answer = client.get(f"/api/pictures/{opened(client, png_of(blobs(40, 52)))}/{path}")
        return answer.status_code, answer.text


@reaches("LARGEST_WINDOW")
def _(_) -> tuple[int, str]:
    return got("warp.png?matrix=1,0,0,0,1,0,0,0,1&width=4097&height=4096")


@reaches("LARGEST_LEVEL")
def _(_) -> tuple[int, str]:
    return got(f"tiles/{web.studio.LARGEST_LEVEL + 1}/0/0?model=nearest")


@reaches("SMALLEST_LEVEL")
def _(_) -> tuple[int, str]:
    return got(f"tiles/{web.studio.SMALLEST_LEVEL - 1}/0/0?model=nearest")


@reaches("MOST_WAITING")
def _(monkeypatch) -> tuple[int, str]:
    monkeypatch.setattr(web.worker, "MOST_WAITING", 0)
    return got("tiles/0/0/0?model=nearest")


def forgotten(monkeypatch: pytest.MonkeyPatch, constant: str) -> tuple[int, str]:
    """The answer to a tile of a picture after one more picture, of the same or of another visitor."""
    monkeypatch.setattr(web.studio, constant, 1)
    with TestClient(create_app(Settings()), base_url=HOME) as client:
        name = opened(client, png_of(blobs(40, 52)))
        other = client if constant == "MOST_PICTURES" else TestClient(client.app, base_url=HOME)
        opened(other, png_of(blobs(40, 52)))
        answer = client.get(f"/api/pictures/{name}/tiles/0/0/0?model=nearest")
        return answer.status_code, answer.text


@reaches("MOST_SESSIONS")
def _(monkeypatch) -> tuple[int, str]:
    return forgotten(monkeypatch, "MOST_SESSIONS")


@reaches("MOST_PICTURES")
def _(monkeypatch) -> tuple[int, str]:
    return forgotten(monkeypatch, "MOST_PICTURES")


@reaches("MOST_KEPT")
def _(monkeypatch) -> tuple[int, str]:
    monkeypatch.setattr(web.exports, "MOST_KEPT", 1)
    with TestClient(create_app(Settings()), base_url=HOME) as client:
        name, order = opened(client, png_of(blobs(40, 52))), {"width": 9, "height": 9, "ending": ".png"}
        first, _ = (finished(client, client.post(f"/api/pictures/{name}/exports", json=order).json()) for _ in "ab")
        answer = client.get(f"/api/exports/{first['name']}/file")
        return answer.status_code, answer.text


def rows() -> list[tuple[str, str]]:
    """Limits and the statuses that their table says."""
    text = (PROJECT / "docs/web.md").read_text()
    return re.findall(r"^\| `([A-Z_]+|--[a-z-]+)` \| [^|]+ \| (\d{3}) \|$", text, re.MULTILINE)


@pytest.mark.parametrize("limit", REACHED)
def test_what_is_beyond_a_limit_is_one_line(monkeypatch, limit) -> None:
    status, text = REACHED[limit](monkeypatch)
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
