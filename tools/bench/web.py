"""The page's server: time to the first tile and tiles per second, compared with one render of the same window."""

import asyncio
import itertools
import resource
import statistics
import time
from pathlib import Path
from typing import Any

from httpx import ASGITransport, AsyncClient

from models.checkpoints.loading import load_upscaler
from pictures.reading import read_rgb
from pictures.tensors import to_tensor
from tools.bench.measures import Figure
from utils.geometry.grids import Grid
from web.application import create_app
from web.catalogue import DEFAULT, SHIPPED
from web.settings import Settings
from web.studio import tile_side

LEVELS = {2: 1, 8: 3, 32: 5}
CLIENTS, REQUESTS, DISTINCT = 8, 200, 100  # each tile is asked for twice
HOME = "http://127.0.0.1"
ACROSS = 4  # tiles of the measured window's side
PREPARED = f"{DEFAULT}/field"  # what the server keeps of a scale


def web(arguments: Any) -> dict[str, Any]:
    """Figures by name; in each round the candidates run in turn."""
    settings = Settings(memory=int(arguments.memory * 2**30))
    app = create_app(settings)

    async def measured() -> dict[str, Any]:
        client = AsyncClient(transport=ASGITransport(app), base_url=HOME, timeout=600)
        async with app.router.lifespan_context(app), client:
            figures = await _tiles(client, app.state.studio.budget, arguments)
        return figures | await _load(arguments)

    return asyncio.run(measured())


async def _tiles(client: AsyncClient, budget: Any, arguments: Any) -> dict[str, Any]:
    content = Path(arguments.picture).read_bytes()
    picture = (await client.post("/api/pictures", content=content)).json()["picture"]
    started = time.perf_counter()
    await client.post(f"/api/pictures/{picture}/encode")
    figures: dict[str, Any] = {"encode once, s": time.perf_counter() - started}
    upscaler = load_upscaler(SHIPPED[DEFAULT][1])
    pixels = to_tensor(read_rgb(arguments.picture))
    latent = upscaler.encode(pixels)
    height, width = pixels.shape[1:]
    for scale, level in LEVELS.items():
        grid = Grid.of_size((height * scale, width * scale))
        side = tile_side(level)
        columns, rows = (min(ACROSS, n * scale // side) for n in (width, height))
        window = grid.window(0, 0, (rows * side, columns * side))
        places = list(itertools.product(range(columns), range(rows)))

        async def get(*wanted: tuple[int, int], level: int = level) -> tuple[float, float]:
            """Seconds, and those of processors, that these tiles take together."""
            paths = [f"/api/pictures/{picture}/tiles/{level}/{column}/{row}" for column, row in wanted]
            started, processor = time.perf_counter(), time.process_time()
            await asyncio.gather(*(_ask(client, path) for path in paths))
            return time.perf_counter() - started, time.process_time() - processor

        def forget(*parts: str) -> None:
            for part in parts:
                budget.drop((picture, *part.split("/")))

        first, later, served, rendered = [], [], [], []
        for number in range(1 + arguments.repeats):
            forget("tile", PREPARED)
            times = [await get(places[0])]
            forget("tile")
            times.append(await get(places[0]))
            forget("tile", PREPARED)
            times.append(await get(*places))
            started, processor = time.perf_counter(), time.process_time()
            upscaler.render(latent, window)
            times.append((time.perf_counter() - started, time.process_time() - processor))
            if number:  # after a warm-up
                for kept, figure in zip((first, later, served, rendered), times, strict=True):
                    kept.append(figure)
        figures[f"x{scale}: first tile of a scale, ms"] = Figure.of([1000 * seconds for seconds, _ in first])
        figures[f"x{scale}: a later tile, ms"] = Figure.of([1000 * seconds for seconds, _ in later])
        figures[f"x{scale}: tiles a second"] = len(places) / statistics.median(seconds for seconds, _ in served)
        for which, what in enumerate(("time", "processor")):
            figures[f"x{scale}: tiles / one render, {what}"] = Figure.of(
                [tiles[which] / render[which] for tiles, render in zip(served, rendered, strict=True)]
            )
    return figures


async def _ask(client: AsyncClient, path: str) -> None:
    """GET a path as the visitor that a client is, but without that client, whose own work is not the server's."""
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", client.base_url.host.encode()), (b"cookie", cookies.encode())],
        "client": ("127.0.0.1", 1),
    }
    asked, answered = iter([{"type": "http.request"}]), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if (message := next(asked, None)) is None:
            await answered.wait()
            return {"type": "http.disconnect"}
        return message

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(f"{path}: {message['status']}")
        if message["type"] == "http.response.body":
            answered.set()

    await client._transport.app(scope, receive, send)


async def _load(arguments: Any) -> dict[str, Any]:
    """Many clients at once, each with a picture and a session of its own."""
    app = create_app(Settings(memory=int(arguments.memory * 2**30)))
    budget, content = app.state.studio.budget, Path(arguments.picture).read_bytes()

    async def visit() -> list[int]:
        statuses = []
        async with AsyncClient(transport=ASGITransport(app), base_url=HOME, timeout=600) as client:
            picture = (await client.post("/api/pictures", content=content)).json()["picture"]
            for number in range(REQUESTS):
                path = f"/api/pictures/{picture}/tiles/4/{number % DISTINCT % 10}/{number % DISTINCT // 10}"
                statuses.append((await client.get(path)).status_code)
        return statuses

    async with app.router.lifespan_context(app):
        started = time.perf_counter()
        statuses = await asyncio.gather(*(visit() for _ in range(CLIENTS)))
        seconds = time.perf_counter() - started
    answered = [status for of_client in statuses for status in of_client]
    return {
        f"load, {CLIENTS} clients x {REQUESTS}: tiles answered": answered.count(200),
        "load: others": len(answered) - answered.count(200),
        "load: tiles a second": len(answered) / seconds,
        "load: most memory kept, share of the budget": budget.highest / budget.limit,
        "load: peak resident memory, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
