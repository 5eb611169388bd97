"""Who is answered, and how: sessions, tokens, other pages, wrong requests, very many at once."""

import asyncio
import re
import socket
import threading

import numpy as np
import pytest
from httpx import ASGITransport, AsyncClient, Response
from starlette.testclient import TestClient

import web.exports
import web.routes
import web.server
import web.studio
from tests.web.conftest import HOME, LONG, blobs, finished, opened, png_of
from utils.errors import InputError
from web.budget import Budget, Key, size_of
from web.exports import Export
from web.server import create_app, serve
from web.settings import STATIC, Settings
from web.uploads import open_upload

TOKEN = "open-sesame-12"


def test_a_picture_is_its_visitors_only(client, other_client) -> None:
    name = opened(client, png_of(blobs(40, 52)))
    export = client.post(f"/api/pictures/{name}/exports", json={"width": 9, "height": 9, "ending": ".png"}).json()
    finished(client, export)
    for path in (f"pictures/{name}/tiles/0/0/0", f"pictures/{name}/input.png", f"exports/{export['name']}"):
        assert client.get(f"/api/{path}").status_code == 200
        assert other_client.get(f"/api/{path}").status_code == 404
    assert other_client.delete(f"/api/pictures/{name}").status_code == 404
    assert client.delete(f"/api/pictures/{name}").status_code == 204
    assert client.get(f"/api/pictures/{name}/tiles/0/0/0").status_code == 404


def test_the_cookie_is_not_for_scripts_or_other_sites(other_client) -> None:
    cookie = other_client.get("/").headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "set-cookie" not in other_client.get("/").headers


def test_only_what_opens_something_begins_a_session(other_client) -> None:
    """Requests at once that find nothing, for the server has been started again, do not undo what one of them opens."""
    for path in ("pictures/gone/tiles/0/0/0", "pictures/gone/scores?model=nearest", "catalogue", "exports/gone"):
        assert "set-cookie" not in other_client.get(f"/api/{path}").headers
    assert "set-cookie" not in other_client.post("/api/pictures/gone/command", json={}).headers
    assert "set-cookie" in other_client.post("/api/pictures", content=png_of(blobs(8, 8))).headers


def test_invented_cookies_open_no_session(client) -> None:
    guest = TestClient(client.app, base_url=HOME, cookies={"continua_8000": "mine"})
    assert "continua_8000=mine" not in guest.get("/").headers["set-cookie"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 400),
        ({"host": "127.0.0.1.evil.example"}, 400),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, 200),
        ({"host": "[::1]:8000", "origin": "http://[::1]:8000"}, 200),
    ],
)
def test_other_pages_are_not_answered(client, headers, status) -> None:
    assert client.post("/api/samples/coffee.png", headers=headers).status_code == status


def test_elsewhere_than_on_this_machine_a_token_is_needed() -> None:
    with pytest.raises(InputError, match="--token"):
        Settings(host="0.0.0.0")
    with pytest.raises(InputError, match="at least 12"):
        Settings(host="0.0.0.0", token="short")
    settings = Settings(host="0.0.0.0", token=TOKEN)
    with TestClient(create_app(settings), base_url="http://192.0.2.7", follow_redirects=False) as client:
        assert client.get("/api/catalogue").status_code == 401
        assert client.get("/").status_code == 401
        assert client.get("/?token=open-sesame-13").status_code == 401
        assert "set-cookie" not in client.get("/?token=%FF").headers
        assert client.get(f"/?token={TOKEN}").headers["location"] == "/"
        assert client.get("/api/catalogue").status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/static/../app.py", 404),
        ("/static/%2e%2e/%2e%2e/app.py", 404),
        ("/static/..%2f..%2fapp.py", 404),
        ("/static//etc/passwd", 404),
        ("/api/samples/..%2f..%2f..%2fREADME.md", 404),
        ("/api/samples/%2e%2e", 404),
        ("/api/pictures/PICTURE/tiles/0/0/0?model=../../app", 404),
        ("/api/pictures/PICTURE/tiles/0/0/0?model=save:../../../etc/passwd", 404),
        ("/api/pictures/PICTURE/tiles/0/0/0?model=reference", 404),
        ("/api/pictures/PICTURE/tiles/7/0/0", 404),
        ("/api/pictures/PICTURE/tiles/-99999999/0/0", 404),
        ("/api/pictures/PICTURE/tiles/99999999/0/0", 404),
        ("/api/pictures/PICTURE/tiles/2/-1/0", 404),
        ("/api/pictures/PICTURE/tiles/2/99999999999999999999/0", 404),
        ("/api/pictures/PICTURE/tiles/x/0/0", 422),
        ("/api/pictures/PICTURE/warp.png?matrix=1,0,0,0,1,0,0,0&width=9&height=9", 422),
        ("/api/pictures/PICTURE/warp.png?matrix=1,0,0,1,0,0,0,0,1&width=9&height=9", 422),
        ("/api/pictures/PICTURE/warp.png?matrix=/etc/passwd&width=9&height=9", 422),
        ("/api/pictures/PICTURE/warp.png?matrix=nan,0,0,0,1,0,0,0,1&width=9&height=9", 422),
        ("/api/pictures/PICTURE/warp.png?matrix=1,0,0,0,1,0,0,0,1&width=90000&height=90000", 413),
        ("/api/pictures/PICTURE/warp.png?matrix=1,0,0,0,1,0,0,0,1&width=-1&height=9", 413),
        ("/api/pictures/PICTURE/scores?model=bicubic&left=nan", 422),
        ("/api/exports/none", 404),
        ("/nowhere", 404),
    ],
)
def test_wrong_requests_are_one_line(client, path, status) -> None:
    name = opened(client, png_of(blobs(40, 52)))
    answer = client.get(path.replace("PICTURE", name))
    assert answer.status_code == status, answer.text
    assert "\n" not in answer.json()["error"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 422),
        ("[1]", 422),
        ("[" * 9000, 422),
        ('{"width": 1e9, "height": 4, "ending": ".png"}', 422),
        ('{"width": 100000, "height": 100000, "ending": ".png"}', 422),
        ('{"width": 20000, "height": 20000, "ending": ".png"}', 413),
        ('{"width": 20000, "height": 20, "ending": ".webp"}', 422),
        ('{"width": true, "height": 4, "ending": ".png"}', 422),
        ('{"width": 4, "height": 4, "ending": ".exe"}', 422),
        ('{"width": 4, "height": 4, "ending": ".png", "window": [0, 0, 5, 4]}', 422),
        ('{"width": 4, "height": 4, "ending": ".png", "window": [0, 0, 4]}', 422),
        ('{"width": 4, "height": 4, "ending": ".png", "model": "x"}', 404),
        ('{"width": 4, "height": 4, "ending": ".png", "matrix": {}}', 422),
        ("x" * 20_000, 413),
    ],
)
def test_wrong_orders_are_one_line_and_keep_no_memory(client, monkeypatch, body, status) -> None:
    monkeypatch.setattr(web.exports, "check_memory", lambda *_: None)  # whatever is free on this machine
    name = opened(client, png_of(blobs(40, 52)))
    used = client.app.state.studio.budget.used
    answer = client.post(f"/api/pictures/{name}/exports", content=body)
    assert answer.status_code == status, answer.text
    assert client.app.state.studio.budget.used == used


def test_a_cancelled_download_gives_its_memory_back(client, monkeypatch) -> None:
    name = opened(client, png_of(blobs(40, 52)))
    begun, release, paint = threading.Event(), threading.Event(), Export._paint

    def held(self: Export, top: int, rows: int) -> np.ndarray:
        begun.set()
        release.wait(LONG)
        return paint(self, top, rows)

    monkeypatch.setattr(Export, "_paint", held)
    reserved = client.app.state.studio.budget._reserved
    order = {"width": 1300, "height": 1000, "ending": ".png", "model": "bicubic"}
    export = client.post(f"/api/pictures/{name}/exports", json=order).json()
    assert begun.wait(LONG)
    assert client.app.state.studio.budget._reserved > reserved
    assert client.delete(f"/api/exports/{export['name']}").status_code == 204
    assert client.get(f"/api/exports/{export['name']}").json()["state"] == "cancelled"
    assert client.get(f"/api/exports/{export['name']}/file").status_code == 404
    release.set()
    client.get(f"/api/pictures/{name}/warp.png?matrix=1,0,0,0,1,0,0,0,1&width=9&height=9")  # after the rows
    assert client.app.state.studio.budget._reserved == reserved
    assert client.get(f"/api/exports/{export['name']}").json()["state"] == "cancelled"


def test_eight_visitors_stay_under_the_budget(monkeypatch) -> None:
    """Together their pictures need more than the budget, in whatever order they come, and all tiles are answered."""
    monkeypatch.setattr(web.studio, "TILE", 64)
    monkeypatch.setattr(web.routes, "decode_apart", open_upload)  # in this process, which is quicker
    app = create_app(Settings(memory=7 << 18))
    budget, needed, keep = app.state.studio.budget, {}, Budget.keep

    def observed(self: Budget, key: Key, value: object) -> None:
        needed[key] = size_of(value)
        keep(self, key, value)

    monkeypatch.setattr(Budget, "keep", observed)

    async def tile(client: AsyncClient, pictures: dict[int, str], number: int, model: str) -> Response:
        which = number // 8
        for _ in range(20):
            if which not in pictures:
                answer = await client.post("/api/pictures", content=png_of(blobs(16, 20)))
                pictures[which] = answer.json()["picture"]
            path = f"/api/pictures/{pictures[which]}/tiles/4/{number % 3}/{number // 3 % 2}?model={model}"
            answer = await client.get(path)
            if answer.status_code != 404:
                break
            del pictures[which]  # dropped for others' pictures: it is opened again
        return answer

    async def visit(number: int) -> list[int]:
        model, pictures = ("s", "bicubic")[number > 1], {}
        async with AsyncClient(transport=ASGITransport(app), base_url=HOME) as client:
            return [(await tile(client, pictures, number, model)).status_code for number in range(32)]

    async def visits() -> list[list[int]]:
        async with app.router.lifespan_context(app):
            return await asyncio.gather(*map(visit, range(8)))

    assert asyncio.run(visits()) == [[200] * 32] * 8
    assert sum(needed.values()) > 1.5 * budget.limit
    assert sum(budget.get(key) is not None for key in needed) < len(needed)
    assert budget.highest <= budget.limit


def test_very_many_requests_at_once_wait() -> None:
    app = create_app(Settings())

    async def visit() -> list[int]:
        client = AsyncClient(transport=ASGITransport(app), base_url=HOME)
        async with app.router.lifespan_context(app), client:
            name = (await client.post("/api/pictures", content=png_of(blobs(32, 40)))).json()["picture"]
            path = f"/api/pictures/{name}/tiles/5/{{}}/{{}}?model=nearest"
            answers = await asyncio.gather(*(client.get(path.format(n % 3, n % 2)) for n in range(200)))
            return [answer.status_code for answer in answers]

    assert asyncio.run(visit()) == [200] * 200


def test_the_address_is_said_when_it_can_be_connected_to() -> None:
    class Connected(Exception):
        pass

    def say(line: str) -> None:
        port = int(re.search(r":(\d+)/", line)[1])
        socket.create_connection(("127.0.0.1", port), LONG).close()
        raise Connected

    with pytest.raises(Connected):
        serve(Settings(port=0), say)


def test_headers_that_do_not_arrive_end_the_connection(monkeypatch) -> None:
    """Of the first request and of later ones; what has arrived in time is answered."""
    monkeypatch.setattr(web.server, "HEADER_SECONDS", 0.3)

    async def visit() -> list[bytes]:
        listening = socket.create_server(("127.0.0.1", 0))
        server = web.server.server_of(create_app(Settings()))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        answers, whole = [], b"HEAD /static/main.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for sent in (b"", b"GET / HT", whole + b"GET"):
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(sent)
            answers.append(await asyncio.wait_for(reader.read(), LONG))
            writer.close()
        server.should_exit = True
        await task
        return answers

    none, part, answered = asyncio.run(visit())
    assert (none, part) == (b"", b"")
    assert answered.startswith(b"HTTP/1.1 200")


def test_nothing_comes_from_elsewhere() -> None:
    """No file of the page names another server but in comments and links of licences."""
    for path in STATIC.glob("*"):
        if path.is_file():
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert "http" not in text.replace("https://", "http"), path
