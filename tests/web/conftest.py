"""A server of the page, within the test or on a port, with models that cost little."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the page needs fastapi")
pytest.importorskip("httpx", reason="its tests need httpx")

from starlette.testclient import TestClient

from web.server import create_app
from web.settings import Settings

HOME = "http://127.0.0.1"
LONG = 600  # seconds, which only a fault takes, however busy the machine is


def png_of(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def blobs(height: int, width: int, channels: int = 3) -> np.ndarray:
    """(height, width, channels) uint8, smooth."""
    small = np.random.default_rng(5).integers(0, 256, (6, 7, channels), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def opened(client: TestClient, content: bytes, **query: object) -> str:
    """Send a picture; its name."""
    answer = client.post("/api/pictures", params={"name": "photo.png", **query}, content=content)
    assert answer.status_code == 200, answer.text
    return answer.json()["picture"]


def finished(client: TestClient, export: dict) -> dict:
    """A download's state when it is made."""
    while export["state"] in ("waiting", "painting"):
        export = client.get(f"/api/exports/{export['name']}").json()
    assert export["state"] == "finished", export
    return export


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings()), base_url=HOME) as client:
        yield client


@pytest.fixture
def other_client(client: TestClient) -> TestClient:
    """Another visitor of the same server."""
    return TestClient(client.app, base_url=HOME)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(png_of(blobs(40, 52)))
    return path
