"""Films of the page: made by demo.py, told and ended as downloads are, and no way to occupy the server."""

import io
import time

import numpy as np
import pytest
from starlette.testclient import TestClient

import web.films
import web.routes
from tests.web.conftest import HOME, blobs
from web.films import Film
from web.server import create_app
from web.settings import Settings

av = pytest.importorskip("av", reason="films need PyAV")


def film(frames: int = 6, height: int = 48, width: int = 64) -> bytes:
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=24)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        wide = blobs(height, width + frames)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(wide[:, number : number + width]), "rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return stream.getvalue()


def begun(client: TestClient, content: bytes, **query: object) -> dict:
    return client.post("/api/films", params={"name": "a b.mp4", "model": "nearest", **query}, content=content).json()


def told(client: TestClient, export: dict) -> dict:
    while export["state"] == "painting":
        export = client.get(f"/api/exports/{export['name']}").json()
    return export


def test_a_film_is_made_by_a_model_at_a_scale_and_only_for_its_visitor(client, other_client) -> None:
    export = told(client, begun(client, film(), scale="1.5"))
    assert (export["state"], export["file"], export["done"]) == ("finished", "a b_x1.5.mp4", 1.0), export
    assert other_client.get(f"/api/exports/{export['name']}/file").status_code == 404
    answer = client.get(f"/api/exports/{export['name']}/file")
    assert answer.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(answer.content)) as made:
        frames = list(made.decode(video=0))
    assert (len(frames), frames[0].width, frames[0].height) == (6, 96, 72)
    assert client.delete(f"/api/exports/{export['name']}").status_code == 204
    assert client.get(f"/api/exports/{export['name']}/file").status_code == 404


@pytest.mark.parametrize(
    ("content", "query", "words"),
    [
        (b"no film", {}, "in.mp4 cannot be read as a film"),
        (b"ffconcat version 1.0\nfile in.mp4\n", {}, "in.mp4 cannot be read as a film"),
        (b"x", {"name": "x.sh"}, "x.sh is not a film"),
        (b"x", {"scale": "-1"}, "expected a number above 0"),
        (b"x", {"model": "nothere"}, "no model 'nothere'"),
    ],
)
def test_what_is_no_film_is_one_line(client, content, query, words) -> None:
    export = begun(client, content, **query)
    said = (told(client, export) if "state" in export else export)["error"]
    assert words in said
    assert "\n" not in said
    assert "/" not in said


def test_one_film_at_a_time_which_ends_in_time_and_with_the_server(monkeypatch) -> None:
    monkeypatch.setattr(web.films, "make", forever)
    with TestClient(create_app(Settings()), base_url=HOME) as client:
        first = begun(client, b"x")
        assert client.post("/api/films?name=b.mp4", content=b"x").status_code == 429
        monkeypatch.setattr(web.routes, "FILM_IDLE", -1)  # nobody has asked for the first one
        monkeypatch.setattr(web.films, "FILM_SECONDS", 0)
        second = begun(client, b"x")
        assert client.get(f"/api/exports/{first['name']}").json()["state"] == "cancelled"
        assert "takes longer than" in told(client, second)["error"]
        monkeypatch.setattr(web.films, "FILM_SECONDS", 999)
        third = begun(client, b"x")
        kept: Film = next(
            session.exports[third["name"]]
            for session in client.app.state.studio._sessions.values()
            if third["name"] in session.exports
        )
        assert kept.state == "painting"
    assert kept._process.exitcode == -9


def forever(*_: object) -> None:
    time.sleep(999)
