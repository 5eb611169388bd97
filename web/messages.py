"""What requests carry, checked, and what is answered."""

import json
from base64 import b64encode
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response

from utils.geometry.sizes import Size
from web.errors import Refused

MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp", ".tif": "image/tiff"}
LARGEST_JSON = 10_000


async def left(request: Request) -> None:
    """Ends when the client has gone; called when the request's body, if any, has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def json_body(request: Request) -> dict[str, Any]:
    """The request's JSON object, of which only a short one is read; Refused for anything else."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > LARGEST_JSON:
            raise Refused("the request is too long", 413)
    try:
        asked = json.loads(bytes(content))
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise Refused("expected a JSON object", 422)
    return asked


def whole_pair(asked: dict[str, Any], width: str, height: str) -> Size:
    """(H, W) of two whole numbers from 1."""
    values = [asked.get(height), asked.get(width)]
    if not all(type(value) is int and value >= 1 for value in values):
        raise Refused(f"{width} and {height} are whole numbers from 1", 422)
    return values[0], values[1]


def four_whole(values: Any) -> tuple[int, int, int, int]:
    if not isinstance(values, list) or len(values) != 4 or not all(type(value) is int for value in values):
        raise Refused("window is [left, top, width, height], whole numbers", 422)
    return tuple(values)


def attachment(content: bytes, name: str) -> Response:
    """A file for the browser to save."""
    ending = "." + name.rpartition(".")[2]
    disposition = f"attachment; filename*=UTF-8''{quote(name)}"
    return Response(content, media_type=MEDIA[ending], headers={"Content-Disposition": disposition})


def data_address(content: bytes) -> str:
    return f"data:image/png;base64,{b64encode(content).decode()}"
